-- Results that are files, and names that they reserve.

-- A name that no two active tasks may have, such as that of the LoRA that a training makes. It is free again once the task has
-- ended.
ALTER TABLE tasks ADD COLUMN reserves TEXT;
CREATE UNIQUE INDEX tasks_reserved ON tasks (reserves) WHERE reserves IS NOT NULL AND state IN ('queued', 'running');

-- The name of the file for those who download it; NULL for pictures.
ALTER TABLE assets ADD COLUMN name TEXT;
