//! Edits of operations, callbacks, bodies and of what stands around them.

use super::super::super::effect::Class::{Additive, Breaking, Documentation, Unclassified};
use super::{Case, case};

/// The edits.
pub const CASES: &[Case] = &[
    // Words.
    case("title: Small API", "title: Tiny API", &[("info/title", Documentation, Documentation)]),
    case("Things that take a while.", "Slow.", &[("tags/0/description", Documentation, Documentation)]),
    case("summary: Paint a picture", "summary: Paint", &[("paint:summary", Documentation, Documentation)]),
    case("x-provenance: published", "x-provenance: partial", &[("paint:x-provenance", Documentation, Documentation)]),
    case(
        "x-quirk: Lacks the id of the job.",
        "x-quirk: Lacks the id.",
        &[("paint:requestBody/content/application~1json/examples/published/x-quirk", Documentation, Documentation)],
    ),
    case(
        "              published:\n",
        "              observed:\n",
        &[
            ("paint:requestBody/content/application~1json/examples/published", Documentation, Documentation),
            ("paint:requestBody/content/application~1json/examples/observed", Documentation, Documentation),
        ],
    ),
    case(
        "      tags:\n        - jobs\n",
        "      tags:\n        - questions\n",
        &[("paint:tags", Documentation, Documentation)],
    ),
    // The document.
    case("openapi: \"3.0.3\"", "openapi: \"3.1.0\"", &[("openapi", Unclassified, Unclassified)]),
    case("info:\n", "x-news: true\ninfo:\n", &[("x-news", Unclassified, Unclassified)]),
    case("    keySecret: []\n", "", &[("security", Breaking, Breaking)]),
    case("  - keyId: []\n    keySecret: []\n", "  []\n", &[("security", Additive, Breaking)]),
    case("name: X-Key-Id", "name: X-Id", &[("components/securitySchemes/keyId/name", Breaking, Breaking)]),
    case(
        "tags:\n  - name: jobs",
        "servers:\n  - url: https://example.com\ntags:\n  - name: jobs",
        &[("servers/0", Additive, Additive)],
    ),
    // Operations.
    case("/saas/paint:", "/saas/draw:", &[("paths/~1AIGCImgOpenServ~1saas~1draw", Breaking, Breaking)]),
    case("operationId: ask\n", "operationId: inquire\n", &[("ask:operationId", Breaking, Breaking)]),
    case("      x-idempotent: true\n", "", &[("ask:x-idempotent", Breaking, Additive)]),
    case(
        "      summary: Ask for a job",
        "      deprecated: true\n      summary: Ask for a job",
        &[("ask:deprecated", Unclassified, Unclassified)],
    ),
    case("        query: ask\n", "        query: paint\n", &[("paint:x-job/query", Breaking, Breaking)]),
    case("id: \"$request.body#/jobId\"", "id: \"$request.body#/subject\"", &[("paint:x-job/id", Breaking, Breaking)]),
    case("        parameters:\n          kind: \"oil/wall\"\n", "", &[("paint:x-job/parameters", Breaking, Breaking)]),
    case(
        "      x-job:\n        query: ask\n        id: \"$request.body#/jobId\"\n        field: jobId\n        parameters:\n          kind: \"oil/wall\"\n",
        "",
        &[("paint:x-job", Breaking, Additive)],
    ),
    case("          x-multi-segment: true\n", "", &[("ask:parameters/0/x-multi-segment", Breaking, Additive)]),
    case(
        "        - name: kind\n          in: path",
        "        - name: sort\n          in: path",
        &[("ask:parameters/0", Breaking, Breaking), ("ask:parameters/0", Breaking, Additive)],
    ),
    case(
        "          required: true\n          description: What the job",
        "          description: What the job",
        &[("ask:parameters/0/required", Additive, Breaking)],
    ),
    // Bodies.
    case("        required: true\n", "", &[("paint:requestBody/required", Additive, Breaking)]),
    case(
        "          application/json:\n            schema:\n              $ref: \"#/components/schemas/AskRequest\"",
        "          text/plain: {}\n          application/json:\n            schema:\n              $ref: \"#/components/schemas/AskRequest\"",
        &[("ask:requestBody/content/text~1plain", Additive, Breaking)],
    ),
    case(
        "        \"4XX\":\n          $ref: \"#/components/responses/Failure\"\n",
        "",
        &[("paint:responses/4XX", Additive, Breaking)],
    ),
    case(
        "        \"5XX\":\n",
        "        \"302\":\n          description: Look there.\n        \"5XX\":\n",
        &[("paint:responses/302", Breaking, Additive)],
    ),
    case(
        "        \"200\":\n          description: The job was",
        "        \"202\":\n          description: The job was",
        &[("paint:responses/200", Breaking, Breaking), ("paint:responses/202", Breaking, Additive)],
    ),
    case(
        "          description: The job was accepted.\n",
        "          headers: {}\n          description: The job was accepted.\n",
        &[("paint:responses/200/headers", Unclassified, Unclassified)],
    ),
    case(
        "description: The call failed.",
        "description: It failed.",
        &[("components/responses/Failure/description", Documentation, Documentation)],
    ),
    // Callbacks: what is pushed travels like an answer, what the receiver says like a request.
    case(
        "{$request.body#/callbackUrl}",
        "{$request.body#/subject}",
        &[
            ("paint:callbacks/finished/{$request.body#~1callbackUrl}", Breaking, Additive),
            ("paint:callbacks/finished/{$request.body#~1subject}", Additive, Breaking),
        ],
    ),
    case("operationId: paint_callback", "operationId: paint_done", &[("push:operationId", Breaking, Breaking)]),
    case(
        "              security: []\n",
        "              security:\n                - keyId: []\n",
        &[("push:security", Additive, Breaking)],
    ),
    case("                required: true\n", "", &[("push:requestBody/required", Breaking, Additive)]),
];
