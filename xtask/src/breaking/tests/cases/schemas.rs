//! Edits of schemas, in requests and in answers.

use super::super::super::effect::Class::{Additive, Breaking, Documentation, Unclassified};
use super::{Case, case};

/// Edits of what callers send: fewer values break callers, more values break servers.
pub const REQUESTS: &[Case] = &[
    // Marks.
    case(
        "x-caller-id: repeatable",
        "x-caller-id: unique",
        &[("schema:PaintRequest/properties/jobId/x-caller-id", Breaking, Additive)],
    ),
    case(
        "          x-picture: true\n",
        "",
        &[("schema:PaintRequest/properties/sketch/x-picture", Documentation, Documentation)],
    ),
    // Limits.
    case("minimum: 10", "minimum: 12", &[("schema:PaintRequest/properties/size/minimum", Breaking, Additive)]),
    case("minimum: 10", "minimum: 8", &[("schema:PaintRequest/properties/size/minimum", Additive, Breaking)]),
    case("          maximum: 30\n", "", &[("schema:PaintRequest/properties/size/maximum", Additive, Breaking)]),
    case("maximum: 30", "maximum: 29", &[("schema:PaintRequest/properties/size/maximum", Breaking, Additive)]),
    case(
        "maximum: 30",
        "maximum: 30.0",
        &[("schema:PaintRequest/properties/size/maximum", Documentation, Documentation)],
    ),
    case(
        "maximum: 30",
        "maximum: many",
        &[("schema:PaintRequest/properties/size/maximum", Unclassified, Unclassified)],
    ),
    case(
        "          minLength: 1\n",
        "          minLength: 1\n          maxLength: 9\n",
        &[("schema:PaintRequest/properties/jobId/maxLength", Breaking, Additive)],
    ),
    case(
        "          type: array\n",
        "          type: array\n          minItems: 1\n          maxItems: 3\n          uniqueItems: true\n",
        &[
            ("schema:PaintRequest/properties/strokes/minItems", Breaking, Additive),
            ("schema:PaintRequest/properties/strokes/maxItems", Breaking, Additive),
            ("schema:PaintRequest/properties/strokes/uniqueItems", Breaking, Additive),
        ],
    ),
    case(
        "            exclusiveMinimum: true\n",
        "",
        &[("schema:PaintRequest/properties/strokes/items/exclusiveMinimum", Additive, Breaking)],
    ),
    case(
        "            minimum: 0\n            maximum: 1\n",
        "            maximum: 2\n",
        &[
            ("schema:PaintRequest/properties/rate/x-numeric/minimum", Additive, Breaking),
            ("schema:PaintRequest/properties/rate/x-numeric/maximum", Additive, Breaking),
        ],
    ),
    case(
        "            minimum: 0\n            maximum: 1\n",
        "            minimum: 0\n            maximum: 1\n            integer: true\n",
        &[("schema:PaintRequest/properties/rate/x-numeric/integer", Breaking, Additive)],
    ),
    case(
        "          x-numeric:\n            minimum: 0\n            maximum: 1\n",
        "",
        &[("schema:PaintRequest/properties/rate/x-numeric", Additive, Breaking)],
    ),
    case(
        "          pattern: \"^https?://.+\"\n",
        "",
        &[("schema:PaintRequest/properties/callbackUrl/pattern", Additive, Breaking)],
    ),
    case(
        "^https?://.+",
        "^https://.+",
        &[("schema:PaintRequest/properties/callbackUrl/pattern", Unclassified, Unclassified)],
    ),
    // Types.
    case(
        "            type: number\n",
        "            type: integer\n",
        &[("schema:PaintRequest/properties/strokes/items/type", Breaking, Additive)],
    ),
    case(
        "          type: integer\n          minimum: 10",
        "          type: number\n          minimum: 10",
        &[("schema:PaintRequest/properties/size/type", Additive, Breaking)],
    ),
    case(
        "          type: integer\n          minimum: 10",
        "          type: string\n          minimum: 10",
        &[("schema:PaintRequest/properties/size/type", Breaking, Breaking)],
    ),
    case(
        "          type: integer\n          minimum: 10",
        "          type: integer\n          format: int64\n          minimum: 10",
        &[("schema:PaintRequest/properties/size/format", Additive, Breaking)],
    ),
    case(
        "          minLength: 1\n",
        "          minLength: 1\n          format: uuid\n",
        &[("schema:PaintRequest/properties/jobId/format", Unclassified, Unclassified)],
    ),
    case(
        "          minLength: 1\n",
        "          minLength: 1\n          nullable: true\n",
        &[("schema:PaintRequest/properties/jobId/nullable", Additive, Breaking)],
    ),
    case(
        "          minLength: 1\n",
        "          minLength: 1\n          writeOnly: true\n",
        &[("schema:PaintRequest/properties/jobId/writeOnly", Unclassified, Unclassified)],
    ),
    // Presence.
    case(
        "        - jobId\n        - subject\n",
        "        - jobId\n",
        &[("schema:PaintRequest/properties/subject", Additive, Breaking)],
    ),
    case(
        "        - jobId\n        - subject\n",
        "        - jobId\n        - subject\n        - brush\n",
        &[("schema:PaintRequest/properties/brush", Breaking, Additive)],
    ),
    case(
        "        - jobId\n        - subject\n",
        "        - subject\n        - jobId\n",
        &[("schema:PaintRequest/required", Documentation, Documentation)],
    ),
    case(
        "        rate:\n",
        "        mood:\n          type: string\n        rate:\n",
        &[("schema:PaintRequest/properties/mood", Additive, Additive)],
    ),
    // A closed request with a new required member: the side that has the other document rejects it.
    case(
        "        - subject\n      properties:\n",
        "        - subject\n        - mood\n      properties:\n        mood:\n          type: string\n",
        &[("schema:PaintRequest/properties/mood", Breaking, Breaking)],
    ),
    case(
        "        - jobId\n      properties:\n        jobId:\n          description: The id given",
        "        - jobId\n        - mood\n      properties:\n        mood:\n          type: string\n        jobId:\n          description: The id given",
        &[("schema:AskRequest/properties/mood", Breaking, Additive)],
    ),
    case(
        "        subject:\n          description: What the picture should show.\n          type: string\n",
        "",
        &[("schema:PaintRequest/properties/subject", Breaking, Breaking)],
    ),
    case(
        "          x-aliases: [\"job_id\"]\n",
        "",
        &[("schema:PaintRequest/properties/jobId/x-aliases/0", Breaking, Additive)],
    ),
    case(
        "x-aliases: [\"job_id\"]",
        "x-aliases: [\"job_id\", \"id\"]",
        &[("schema:PaintRequest/properties/jobId/x-aliases/1", Additive, Additive)],
    ),
    case(
        "          x-accepts: [\"string\"]\n",
        "          x-accepts: [\"number\"]\n",
        &[
            ("schema:PaintRequest/properties/size/x-accepts/0", Breaking, Additive),
            ("schema:PaintRequest/properties/size/x-accepts/0", Additive, Additive),
        ],
    ),
    // A new name whose old one stays as an alias.
    case(
        "        rate:\n          description: How fast to paint, in strokes a second.\n",
        "        speed:\n          x-aliases: [\"rate\"]\n          description: How fast to paint, in strokes a second.\n",
        &[
            ("schema:PaintRequest/properties/speed", Additive, Breaking),
            ("schema:PaintRequest/properties/speed/x-aliases/0", Additive, Additive),
        ],
    ),
    case("          default: 20\n", "", &[("schema:PaintRequest/properties/size/default", Breaking, Additive)]),
    case("default: 20", "default: 21", &[("schema:PaintRequest/properties/size/default", Breaking, Breaking)]),
    case(
        "          minLength: 1\n",
        "          minLength: 1\n          default: \"x\"\n",
        &[("schema:PaintRequest/properties/jobId/default", Additive, Breaking)],
    ),
    // Members that nobody declared, and choices.
    case(
        "      additionalProperties: false\n",
        "",
        &[("schema:PaintRequest/additionalProperties", Additive, Additive)],
    ),
    case(
        "additionalProperties: false",
        "additionalProperties: {}",
        &[("schema:PaintRequest/additionalProperties", Additive, Additive)],
    ),
    case(
        "additionalProperties: false",
        "additionalProperties: {type: string}",
        &[("schema:PaintRequest/additionalProperties", Unclassified, Unclassified)],
    ),
    case(
        "      description: The job asked for.\n",
        "      description: The job asked for.\n      additionalProperties: false\n",
        &[("schema:AskRequest/additionalProperties", Breaking, Additive)],
    ),
    case(
        "      allOf:\n        - oneOf:\n            - required:\n                - size\n            - required:\n                - rate\n",
        "",
        &[("schema:PaintRequest/allOf", Additive, Breaking)],
    ),
    case("            - required:\n                - rate\n", "", &[("schema:PaintRequest/allOf", Breaking, Breaking)]),
    case(
        "      allOf:\n        - oneOf:\n            - required:\n                - size\n            - required:\n                - rate\n",
        "      oneOf:\n        - required:\n            - size\n        - required:\n            - rate\n",
        &[("schema:PaintRequest/oneOf", Documentation, Documentation)],
    ),
    // Sets of values. The path's parameter travels with the request.
    case("        - \"ink\"\n", "", &[("schema:Kind/enum/1", Breaking, Additive)]),
    case(
        "        - \"ink\"\n",
        "        - \"ink\"\n        - \"chalk\"\n",
        &[("schema:Kind/enum/2", Additive, Breaking)],
    ),
    case(
        "        - \"oil/wall\"\n        - \"ink\"\n",
        "        - \"ink\"\n        - \"oil/wall\"\n",
        &[("schema:Kind/enum", Documentation, Documentation)],
    ),
    case(
        "      enum:\n        - \"oil/wall\"\n        - \"ink\"\n",
        "      x-known-values:\n        - value: \"oil/wall\"\n        - value: \"ink\"\n",
        &[("schema:Kind/enum", Additive, Breaking)],
    ),
    case(
        "        - value: \"+fine\"\n          description: A brush with a plus.\n",
        "",
        &[("schema:Brush/x-known-values/2", Breaking, Breaking)],
    ),
    case(
        "        - value: \"+fine\"\n",
        "        - value: \"coarse\"\n          description: A thick brush.\n        - value: \"+fine\"\n",
        &[("schema:Brush/x-known-values/2", Additive, Additive)],
    ),
    // References.
    case(
        "            - $ref: \"#/components/schemas/Brush\"\n",
        "            - $ref: \"#/components/schemas/Kind\"\n",
        &[("schema:PaintRequest/properties/brush/allOf", Additive, Additive), ("schema:Kind/enum", Breaking, Additive)],
    ),
    case(
        "          description: What to paint with, any brush by default.\n          allOf:\n            - $ref: \"#/components/schemas/Brush\"\n",
        "          $ref: \"#/components/schemas/Brush\"\n",
        &[
            ("schema:PaintRequest/properties/brush/description", Documentation, Documentation),
            ("schema:PaintRequest/properties/brush/allOf", Documentation, Documentation),
            ("schema:PaintRequest/properties/brush/$ref", Documentation, Documentation),
        ],
    ),
    case(
        "            - $ref: \"#/components/schemas/Brush\"\n",
        "            - $ref: \"#/components/schemas/Brush\"\n            - type: string\n",
        &[("schema:PaintRequest/properties/brush/allOf", Unclassified, Unclassified)],
    ),
];

/// Edits of what servers send: fewer values break servers, more values break callers.
pub const ANSWERS: &[Case] = &[
    case(
        "    PaintResponse:\n      type: object\n      description: Answer to a request.\n      required:\n        - code\n",
        "    PaintResponse:\n      type: object\n      description: Answer to a request.\n",
        &[("schema:PaintResponse/properties/code", Breaking, Additive)],
    ),
    case(
        "          x-accepts: [\"null\"]\n    JobData:",
        "    JobData:",
        &[("schema:AskResponse/properties/data/x-accepts/0", Additive, Breaking)],
    ),
    case(
        "    JobData:\n      type: object\n      description: State of one job.\n",
        "    JobData:\n      type: object\n      description: State of one job.\n      required:\n        - status\n",
        &[("schema:JobData/properties/status", Additive, Breaking)],
    ),
    case(
        "        status:\n",
        "        share:\n          type: number\n        status:\n",
        &[("schema:JobData/properties/share", Additive, Additive)],
    ),
    case(
        "        data:\n          description: The state, once there is one.\n          allOf:\n            - $ref: \"#/components/schemas/JobData\"\n          x-accepts: [\"null\"]\n",
        "",
        &[("schema:AskResponse/properties/data", Breaking, Additive)],
    ),
    case(
        "          state: running\n",
        "          state: succeeded\n",
        &[("schema:Status/x-known-values/0/state", Breaking, Breaking)],
    ),
    case(
        "          name: Running\n",
        "          name: Busy\n",
        &[("schema:Status/x-known-values/0/name", Breaking, Breaking)],
    ),
    case(
        "        - value: 1\n          name: Done",
        "        - value: 2\n          name: Failed\n          description: Bad.\n          state: failed\n        - value: 1\n          name: Done",
        &[("schema:Status/x-known-values/1", Breaking, Additive)],
    ),
    case(
        "        - value: 1\n          name: Done",
        "        - value: 2\n          name: Waiting\n          description: Soon.\n          state: queued\n        - value: 1\n          name: Done",
        &[("schema:Status/x-known-values/1", Additive, Additive)],
    ),
    // In a cycle of answers and receivers' answers, a schema counts for both.
    case(
        "    Envelope:\n      type: object\n      description: What every answer has in common.\n      required:\n        - code\n",
        "    Envelope:\n      type: object\n      description: What every answer has in common.\n",
        &[("schema:Envelope/properties/code", Breaking, Breaking)],
    ),
    // The order of members is the order on the wire, in which no reader may rely.
    case(
        "      properties:\n        jobId:\n          description: The caller's own id for the job.\n          type: string\n          minLength: 1\n          x-caller-id: repeatable\n          x-aliases: [\"job_id\"]\n        subject:\n          description: What the picture should show.\n          type: string\n",
        "      properties:\n        subject:\n          description: What the picture should show.\n          type: string\n        jobId:\n          description: The caller's own id for the job.\n          type: string\n          minLength: 1\n          x-caller-id: repeatable\n          x-aliases: [\"job_id\"]\n",
        &[("schema:PaintRequest/properties", Additive, Additive)],
    ),
];
