//! The list of all rules, in the order of spec/README.md.

use super::contract::Contract;
use super::report::Report;
use super::{
    bodies, bounds, descriptions, document, enums, examples, extensions, jobs, leniency, names, operations, parameters,
    provenance, references, reserved, roles, schemas,
};

/// One thing that the documents must keep.
pub(super) struct Rule {
    /// Its name in findings and in spec/README.md.
    pub(super) name: &'static str,
    /// What it asks for and why, in one sentence.
    pub(super) reason: &'static str,
    /// Looks for what breaks it.
    pub(super) check: fn(&Contract<'_>, &mut Report),
}

/// Makes a rule; it keeps the table below free of field names.
const fn rule(name: &'static str, reason: &'static str, check: fn(&Contract<'_>, &mut Report)) -> Rule {
    Rule { name, reason, check }
}

/// Every rule; the last one relies on the findings of those before it.
pub(super) static RULES: &[Rule] = &[
    rule(
        "line-ends",
        "A document has no byte order mark and its lines end with a line feed alone, because it is served byte for byte and compared line by line.",
        document::line_ends,
    ),
    rule(
        "openapi-version",
        "The document is OpenAPI 3.0.3, the version that the generators read.",
        document::openapi_version,
    ),
    rule(
        "info",
        "The document has a title, and a version in plain ASCII, because both stand in the generated documentation.",
        document::info,
    ),
    rule(
        "document-names",
        "A document beside the vendor's is called `imgopen-` and words in kebab-case, because the server's trait and router are named after it.",
        document::document_names,
    ),
    rule(
        "security",
        "Both keys are required together, each a key in a header, and are the same in every document, because one alone grants nothing and the client has one pair.",
        document::security,
    ),
    rule(
        "thirty-operations",
        "The vendor's document has exactly the vendor's thirty operations; additions have a document of their own.",
        document::thirty_operations,
    ),
    rule(
        "vendor-paths",
        "Paths of the vendor's document begin with `/AIGCImgOpenServ/saas/`, as every published path does.",
        document::vendor_paths,
    ),
    rule(
        "known-keys",
        "Objects have only keys that the generators read, because any other would promise what nothing does.",
        extensions::known_keys,
    ),
    rule(
        "extensions",
        "Extensions are known and stand where they belong, because elsewhere they have no effect.",
        extensions::extensions,
    ),
    rule(
        "extension-values",
        "The value of an extension has the form described in spec/README.md, so that it is read as intended.",
        extensions::extension_values,
    ),
    rule("post-only", "Every operation is a `post`; the API knows no other method.", operations::post_only),
    rule(
        "operation-id",
        "Operation ids are in snake_case and unique over all documents, because methods, schemas and folders are named after them.",
        operations::operation_id,
    ),
    rule(
        "unique-paths",
        "A path belongs to one operation of one document, because a server cannot serve two.",
        operations::unique_paths,
    ),
    rule("tags", "An operation has exactly one declared tag, which is its place in the documentation.", document::tags),
    rule(
        "path-parameters",
        "Variable parts of a path are declared, used, and named sets of texts, so that they can be routed.",
        parameters::path_parameters,
    ),
    rule(
        "multi-segment",
        "A path parameter has `x-multi-segment` exactly if its values hold slashes, because routers must know.",
        parameters::multi_segment,
    ),
    rule("request-body", "Every operation requires a body, so that a call has one form.", bodies::request_body),
    rule("json-only", "Every body is `application/json` and nothing else, so that it has one type.", bodies::json_only),
    rule(
        "body-names",
        "Bodies are the components `<Operation>Request` and `<Operation>Response`, one name everywhere.",
        bodies::body_names,
    ),
    rule(
        "responses",
        "An operation answers 200, 4XX and 5XX, both failures with the one response that carries `Envelope`; the client generator takes no other set.",
        bodies::responses,
    ),
    rule(
        "needed-examples",
        "A request has the examples `minimal` and `full`, an answer at least one, a success first, because tests, mocks and documentation use them.",
        bodies::needed_examples,
    ),
    rule(
        "job-query",
        "`x-job` names an operation, the member that takes the id and the values of the path, so that the client can wait.",
        jobs::job_query,
    ),
    rule(
        "job-id",
        "The `id` of `x-job` leads to a text of the request or the answer, so that the client has an id to query with.",
        jobs::job_id,
    ),
    rule(
        "job-state",
        "The answer to a job's query has exactly one member with states, so that the end of the job can be recognised.",
        jobs::job_state,
    ),
    rule(
        "idempotent",
        "Queries of jobs are `x-idempotent` and jobs are not, because clients repeat idempotent calls by themselves.",
        jobs::idempotent,
    ),
    rule(
        "roles",
        "Requests mark the caller's id (`x-caller-id`), the model (`x-model`) and every field that names pictures (`x-picture`), so that a server finds them without a list of names.",
        roles::roles,
    ),
    rule(
        "callbacks",
        "A job has one callback, named after it, to an address in its request and without keys, so that a receiver can be made.",
        jobs::callbacks,
    ),
    rule(
        "references",
        "A `$ref` stands alone and leads to a component of the same file and of the right kind.",
        references::resolving_references,
    ),
    rule(
        "recursion",
        "A schema does not contain itself, directly or through others, because schemas are written inline and types without boxes.",
        references::recursion,
    ),
    rule(
        "component-names",
        "Schemas have UpperCamelCase names, unique regardless of case, because the types have the same names.",
        names::component_names,
    ),
    rule(
        "property-names",
        "Properties of a schema stay distinct when they become fields in snake_case.",
        names::property_names,
    ),
    rule(
        "reserved-names",
        "Operations, parameters, properties and schemas do not take names that the generated crates already have, because one would hide the other.",
        reserved::reserved_names,
    ),
    rule(
        "named-schemas",
        "Objects and sets of texts are components, so that every type has a name.",
        schemas::named_schemas,
    ),
    rule(
        "schema-types",
        "Every schema has one type that the generators know, and no format but `int64`.",
        schemas::schema_types,
    ),
    rule(
        "nullable",
        "`nullable` stands beside a `type`, as OpenAPI requires, and only a property may be null, because it alone has a type for that.",
        schemas::nullable,
    ),
    rule(
        "composition",
        "`allOf` holds one `$ref`, or in an object one `oneOf` that only requires one of several members, because anything else has no type.",
        schemas::composition,
    ),
    rule(
        "additional-properties",
        "Unknown members are ignored (nothing said), kept (`{}`) or rejected (`false`).",
        schemas::additional_properties,
    ),
    rule(
        "required-names",
        "`required` names existing properties, each once, because otherwise no value would be valid.",
        schemas::required_names,
    ),
    rule(
        "bounds",
        "Limits fit the type and leave room between them, because others check nothing or reject everything.",
        bounds::bounds,
    ),
    rule(
        "answer-bounds",
        "What only answers hold has no limits except published ones, because a value beyond an invented one would make the whole answer unreadable.",
        bounds::answer_bounds,
    ),
    rule(
        "patterns",
        "Patterns work without look-around, back-references and Unicode classes, as the types crate matches them.",
        bounds::patterns,
    ),
    rule("defaults", "A default stands on an optional property and keeps the property's own rules.", bounds::defaults),
    rule("enum-values", "Values have the type of their schema and stand there once.", enums::enum_values),
    rule(
        "variant-names",
        "Values of a schema stay distinct when they become variants, in any spelling.",
        enums::variant_names,
    ),
    rule(
        "known-value-names",
        "Names of known values are in UpperCamelCase, and every number has one, because they become variants.",
        enums::known_value_names,
    ),
    rule(
        "states",
        "If one known value of a schema has a `state`, all have one of the five, so that no job stays undecided.",
        enums::states,
    ),
    rule(
        "aliases",
        "An alias is not another property or alias of its schema, so that a member means one thing.",
        leniency::aliases,
    ),
    rule(
        "accepts",
        "`x-accepts` names only types that the readers can turn into the property's own.",
        leniency::accepts,
    ),
    rule(
        "absent-members",
        "Optional members of answers accept null, because servers send it for what they do not know; members of requests do not.",
        leniency::absent_members,
    ),
    rule(
        "provenance",
        "Operations say how well they are known, and every mark is a known word, because readers must be able to trust them.",
        provenance::provenance,
    ),
    rule(
        "inferred-properties",
        "Properties in the bodies of an inferred operation are marked too, because nothing of it can be published.",
        provenance::inferred_properties,
    ),
    rule(
        "descriptions",
        "Everything is described by sentences that say more than its name, because all documentation is made of them.",
        descriptions::descriptions,
    ),
    rule(
        "sources",
        "A description says what a thing means; where the facts come from stands in `x-source`, so that each reader gets the one they need.",
        descriptions::sources,
    ),
    rule("examples", "Examples keep their schema strictly, because people copy them.", examples::examples),
    rule(
        "example-forms",
        "An example has a summary and a value, so that it says what it shows.",
        examples::example_forms,
    ),
    rule(
        "example-extents",
        "The example `minimal` of a request sets only what is required, `full` sets every field, as tests rely on.",
        examples::example_extents,
    ),
    rule(
        "quirks",
        "An example with `x-quirk` really breaks its schema, because a needless excuse hides the next mistake.",
        examples::quirks,
    ),
    rule(
        "example-files",
        "Folders in spec/examples are named after operations, and their files equal the examples `published`.",
        examples::example_files,
    ),
    rule(
        "sound-schemas",
        "The schemas can be compiled; reported only when no other rule says why they cannot.",
        examples::sound_schemas,
    ),
];
