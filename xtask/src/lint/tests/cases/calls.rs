//! Cases of rules about documents, operations and examples.

use super::{Case, case};

/// One of the two examples that a request needs.
const FULL_ASK: &str = r#"              full:
                summary: Every field set.
                value:
                  jobId: "m-1"
"#;

/// The whole `x-job` of the first operation.
const JOB: &str = r##"      x-job:
        query: ask
        id: "$request.body#/jobId"
        field: jobId
        parameters:
          kind: "oil/wall"
"##;

/// The cases, in the order of the rules.
pub(super) const CASES: &[Case] = &[
    case("line-ends", "  - name: jobs\n", "  - name: jobs\r\n", "#", "- name: jobs"),
    case("openapi-version", "\"3.0.3\"", "\"3.1.0\"", "#/openapi", "openapi: \"3.1.0\""),
    case("info", "\"1.0.0\"", "\"1.0.0 β\"", "#/info/version", "version: \"1.0.0 β\""),
    case("info", "\"1.0.0\"", "1.0", "#/info/version", "version: 1.0"),
    case("security", "  - keyId: []\n    keySecret: []", "  - keyId: []\n  - keySecret: []", "#/security", "security:"),
    case("security", "    keySecret: []", "    keySecrets: []", "#/security", "security:"),
    case(
        "security",
        "      in: header\n      name: X-Key-Id",
        "      in: query\n      name: X-Key-Id",
        "#/components/securitySchemes/keyId",
        "keyId:",
    ),
    case(
        "known-keys",
        "          minLength: 1",
        "          minLength: 1\n          readOnly: true",
        schema!("PaintRequest/properties/jobId/readOnly"),
        "readOnly: true",
    ),
    case(
        "known-keys",
        "      allOf:\n        - oneOf:",
        "      anyOf: []\n      allOf:\n        - oneOf:",
        schema!("PaintRequest/anyOf"),
        "anyOf: []",
    ),
    case(
        "extensions",
        "x-aliases: [",
        "x-alias: [",
        schema!("PaintRequest/properties/jobId/x-alias"),
        "x-alias: [\"job_id\"]",
    ),
    case(
        "extensions",
        "      summary: Ask for a job",
        "      summary: Ask for a job\n      x-multi-segment: true",
        ask!("/x-multi-segment"),
        "x-multi-segment: true",
    ),
    case(
        "extension-values",
        "x-aliases: [\"job_id\"]",
        "x-aliases: \"job_id\"",
        schema!("PaintRequest/properties/jobId/x-aliases"),
        "x-aliases: \"job_id\"",
    ),
    case(
        "extension-values",
        "          x-numeric:\n            minimum: 0",
        "          x-numeric:\n            integer: false\n            minimum: 0",
        schema!("PaintRequest/properties/rate/x-numeric"),
        "x-numeric:",
    ),
    case(
        "extension-values",
        "x-caller-id: repeatable",
        "x-caller-id: true",
        schema!("PaintRequest/properties/jobId/x-caller-id"),
        "x-caller-id: true",
    ),
    case(
        "extension-values",
        "x-source: The published table has only the name.",
        "x-source: \"\"",
        schema!("PaintRequest/properties/sketch/x-source"),
        "x-source: \"\"",
    ),
    case(
        "post-only",
        "ask/{kind}:\n    post:",
        "ask/{kind}:\n    get:\n      tags: []\n    post:",
        "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}/get",
        "get:",
    ),
    case("operation-id", ": ask\n", ": Ask\n", ask!("/operationId"), "operationId: Ask"),
    case("tags", "        - questions", "        - questions\n        - jobs", ask!("/tags"), "tags:"),
    case(
        "tags",
        "        - questions",
        "        - jobs\n        - riddles\n        - questions",
        ask!("/tags"),
        "tags:",
    ),
    case(
        "path-parameters",
        "saas/ask/{kind}:",
        "saas/ask/{kind}/{more}:",
        "#/paths/~1AIGCImgOpenServ~1saas~1ask~1{kind}~1{more}/post/parameters",
        "parameters:",
    ),
    case("path-parameters", "          in: path", "          in: query", ask!("/parameters/0"), "- name: kind"),
    case("multi-segment", "          x-multi-segment: true\n", "", ask!("/parameters/0"), "- name: kind"),
    case(
        "request-body",
        "description: Which job is meant.\n        required: true",
        "description: Which job is meant.",
        ask!("/requestBody"),
        "requestBody:",
    ),
    case(
        "json-only",
        "description: The push has been taken.\n                  content:\n                    application/json:",
        "description: The push has been taken.\n                  content:\n                    text/json:",
        push!("/responses/200/content"),
        "content:",
    ),
    case(
        "body-names",
        "PaintResponse",
        "PaintAnswer",
        paint!("/responses/200/content/application~1json/schema"),
        "schema:",
    ),
    case(
        "responses",
        "          $ref: \"#/components/responses/Failure\"\n      callbacks:",
        "          $ref: \"#/components/responses/Failure\"\n        \"default\":\n          $ref: \"#/components/responses/Failure\"\n      callbacks:",
        paint!("/responses"),
        "responses:",
    ),
    case("needed-examples", FULL_ASK, "", ask!("/requestBody/content/application~1json/examples"), "examples:"),
    case(
        "needed-examples",
        "                  summary: An accepted job.\n                  value:\n                    code: \"200\"",
        "                  summary: An accepted job.\n                  value:\n                    code: \"80\"",
        paint!("/responses/200/content/application~1json/examples/inferred"),
        "inferred:",
    ),
    case("job-query", "        query: ask", "        query: asks", paint!("/x-job/query"), "query: asks"),
    case("job-query", "        field: jobId", "        field: job", paint!("/x-job/field"), "field: job"),
    case("job-query", "kind: \"oil/wall\"", "kind: \"oil\"", paint!("/x-job/parameters"), "parameters:"),
    case(
        "job-query",
        "kind: \"oil/wall\"",
        "kind: \"ink\"\n          size: \"20\"",
        paint!("/x-job/parameters/size"),
        "size: \"20\"",
    ),
    case(
        "job-id",
        "$request.body#/jobId",
        "$response.body#/data/jobId",
        paint!("/x-job/id"),
        "id: \"$response.body#/data/jobId\"",
    ),
    case(
        "job-state",
        "          state: running\n        - value: 1\n          name: Done\n          description: The job has ended well.\n          state: succeeded\n",
        "        - value: 1\n          name: Done\n          description: The job has ended well.\n",
        paint!("/x-job/query"),
        "query: ask",
    ),
    case("idempotent", "      x-idempotent: true\n", "", ask!(""), "post:"),
    case(
        "idempotent",
        "      x-job:",
        "      x-idempotent: true\n      x-job:",
        paint!("/x-idempotent"),
        "x-idempotent: true",
    ),
    case(
        "callbacks",
        "\"{$request.body#/callbackUrl}\":",
        "\"{$request.body#/callback}\":",
        paint!("/callbacks/finished/{$request.body#~1callback}"),
        "\"{$request.body#/callback}\":",
    ),
    case("roles", "          x-caller-id: repeatable\n", "", paint!("/x-job"), "x-job:"),
    case(
        "roles",
        "x-caller-id: repeatable",
        "x-caller-id: repeatable\n          x-model: true",
        schema!("PaintRequest/properties/jobId/x-model"),
        "x-model: true",
    ),
    case("roles", "          x-picture: true\n", "", schema!("PaintRequest/properties/sketch"), "sketch:"),
    case(
        "roles",
        "Where to push the result.\n          type: string\n          pattern: \"^https?://.+\"",
        "Where to push the result.\n          type: string\n          pattern: \"^https?://.+\"\n          x-picture: true",
        schema!("PaintRequest/properties/callbackUrl/x-picture"),
        "x-picture: true",
    ),
    case(
        "roles",
        "What the picture should show.\n          type: string",
        "What the picture should show.\n          type: string\n          x-picture: true",
        schema!("PaintRequest/properties/subject/x-picture"),
        "x-picture: true",
    ),
    case(
        "roles",
        "          maximum: 30\n          default: 20",
        "          maximum: 30\n          default: 20\n          x-model: true",
        schema!("PaintRequest/properties/size/x-model"),
        "x-model: true",
    ),
    case(
        "roles",
        "The state, once there is one.\n          allOf:\n            - $ref: \"#/components/schemas/JobData\"",
        "The state, once there is one.\n          allOf:\n            - $ref: \"#/components/schemas/JobData\"\n          x-model: true",
        schema!("AskResponse/properties/data/x-model"),
        "x-model: true",
    ),
    case("callbacks", "              security: []\n", "", push!(""), "post:"),
    case(
        "callbacks",
        "operationId: paint_callback",
        "operationId: painted",
        push!("/operationId"),
        "operationId: painted",
    ),
    case("provenance", "      x-provenance: published\n", "", paint!(""), "post:"),
    case(
        "provenance",
        "      x-provenance: published\n",
        "      x-provenance: observed\n",
        paint!("/x-provenance"),
        "x-provenance: observed",
    ),
    case(
        "sources",
        "What the picture should show.",
        "What the picture should show; its range is not available.",
        schema!("PaintRequest/properties/subject/description"),
        "description: What the picture should show; its range is not available.",
    ),
    case(
        "examples",
        "                  size: 20\n",
        "                  size: 31\n",
        paint!("/requestBody/content/application~1json/examples/full/value/size"),
        "size: 31",
    ),
    case(
        "examples",
        "rate: \"0.5\"",
        "rate: \"1.5\"",
        paint!("/requestBody/content/application~1json/examples/minimal/value/rate"),
        "rate: \"1.5\"",
    ),
    case(
        "examples",
        "                    - 0.5",
        "                    - 0",
        paint!("/requestBody/content/application~1json/examples/full/value/strokes/0"),
        "- 0",
    ),
    case(
        "quirks",
        FULL_ASK,
        "              observed:\n                summary: As seen.\n                x-quirk: Is not wrong at all.\n                value:\n                  jobId: \"m-1\"\n              full:\n                summary: Every field set.\n                value:\n                  jobId: \"m-1\"\n",
        ask!("/requestBody/content/application~1json/examples/observed/x-quirk"),
        "x-quirk: Is not wrong at all.",
    ),
    case("callbacks", JOB, "", paint!("/callbacks"), "callbacks:"),
    case("info", "  title: Small API\n", "", "#/info", "info:"),
    case(
        "example-forms",
        "                  summary: A job that is done.\n",
        "",
        ask!("/responses/200/content/application~1json/examples/inferred"),
        "inferred:",
    ),
    case(
        "example-extents",
        "                  brush: \"++ fine\"\n",
        "",
        paint!("/requestBody/content/application~1json/examples/full/value"),
        "value:",
    ),
    case(
        "example-extents",
        "                  rate: \"0.5\"\n",
        "                  rate: \"0.5\"\n                  brush: \"fine\"\n",
        paint!("/requestBody/content/application~1json/examples/minimal/value/brush"),
        "brush: \"fine\"",
    ),
];
