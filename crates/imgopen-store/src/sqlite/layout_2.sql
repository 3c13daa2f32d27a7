-- How a training is to be run, as JSON; of no other task.
ALTER TABLE tasks ADD COLUMN training TEXT;
