//! The contract at a glance, pinned: one line for each operation.

use imgopen_types::operations;

#[test]
fn operations() {
    let mut table = String::new();
    for operation in operations::ALL {
        let job = operation.job.as_ref();
        let query = job.map(|job| {
            let parameters: Vec<_> = job.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{}({}) {}", job.query, job.field, parameters.join(",")).trim_end().to_owned()
        });
        table += &format!(
            "{}\n    {} {}\n    request     {}\n    answer      {}\n    query       {}\n    callback    {}\n    provenance  {}{}\n",
            operation.id,
            operation.method,
            operation.path,
            operation.request.name,
            operation.response.name,
            query.as_deref().unwrap_or("-"),
            operation.callback.as_ref().map_or("-", |callback| callback.body.name),
            operation.provenance.word(),
            if operation.idempotent { ", idempotent" } else { "" },
        );
    }
    insta::assert_snapshot!(table);
}
