//! Cases of rules about schemas.

use super::{Case, case};

/// A schema that no example is checked against.
const ENVELOPE_CODE: &str = r#"      description: What every answer has in common.
      required:
        - code
      properties:
        code:
          description: Outcome of the call.
          type: string
"#;

/// The same with lengths that leave no room.
const SHORT_ENVELOPE_CODE: &str = r#"      description: What every answer has in common.
      required:
        - code
      properties:
        code:
          description: Outcome of the call.
          type: string
          minLength: 2
          maxLength: 1
"#;

/// The same as the first with a name required twice.
const CODE_TWICE: &str = r#"      description: What every answer has in common.
      required:
        - code
        - code
      properties:
        code:
          description: Outcome of the call.
          type: string
"#;

/// The same as the first with a second property that becomes the same field.
const TWO_CODES: &str = r#"      description: What every answer has in common.
      required:
        - code
      properties:
        code:
          description: Outcome of the call.
          type: string
        Code:
          description: Another way to write it.
          type: string
"#;

/// The state of a job as it stands.
const STATUS: &str = r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
"##;

/// The cases, in the order of the rules.
pub(super) const CASES: &[Case] = &[
    case(
        "references",
        "          description: What the picture should show.\n          type: string",
        "          $ref: \"other.yaml#/Subject\"",
        schema!("PaintRequest/properties/subject/$ref"),
        "$ref: \"other.yaml#/Subject\"",
    ),
    case(
        "references",
        "          description: What the picture should show.\n          type: string",
        "          $ref: \"#/components/responses/Failure\"",
        schema!("PaintRequest/properties/subject/$ref"),
        "$ref: \"#/components/responses/Failure\"",
    ),
    case(
        "references",
        "            $ref: \"#/components/schemas/Kind\"",
        "            $ref: \"#/components/schemas/Kind\"\n            description: Nobody reads this one.",
        ask!("/parameters/0/schema/$ref"),
        "$ref: \"#/components/schemas/Kind\"",
    ),
    case("component-names", "JobData", "jobData", schema!("jobData"), "jobData:"),
    case("property-names", ENVELOPE_CODE, TWO_CODES, schema!("Envelope/properties/Code"), "Code:"),
    case("reserved-names", "JobData", "JobReport", schema!("JobReport"), "JobReport:"),
    case("reserved-names", "JobData", "Option", schema!("Option"), "Option:"),
    case("reserved-names", "        status:\n", "        Build:\n", schema!("JobData/properties/Build"), "Build:"),
    case("reserved-names", "        status:\n", "        self:\n", schema!("JobData/properties/self"), "self:"),
    case(
        "reserved-names",
        STATUS,
        r##"        extra:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
      additionalProperties: {}
"##,
        schema!("JobData/properties/extra"),
        "extra:",
    ),
    case(
        "reserved-names",
        STATUS,
        r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
        pause:
          description: Seconds to wait before the next question.
          type: number
          default: 1
          x-accepts: ["null"]
        pauseOrDefault:
          description: Seconds to wait in the end.
          type: number
          x-accepts: ["null"]
"##,
        schema!("JobData/properties/pauseOrDefault"),
        "pauseOrDefault:",
    ),
    case(
        "recursion",
        STATUS,
        r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
        parents:
          description: The jobs that started this one.
          type: array
          items:
            $ref: "#/components/schemas/JobData"
          x-accepts: ["null"]
"##,
        schema!("JobData/properties/parents/items/$ref"),
        "$ref: \"#/components/schemas/JobData\"",
    ),
    case(
        "recursion",
        STATUS,
        r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
        whole:
          description: The answer that this one stands in.
          allOf:
            - $ref: "#/components/schemas/AskResponse"
          x-accepts: ["null"]
"##,
        schema!("AskResponse/properties/data/allOf/0/$ref"),
        "- $ref: \"#/components/schemas/JobData\"",
    ),
    case(
        "answer-bounds",
        STATUS,
        r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
        progress:
          description: How much is done, in percent.
          type: number
          minimum: 0
          maximum: 100
          x-provenance: inferred
          x-accepts: ["null"]
"##,
        schema!("JobData/properties/progress/minimum"),
        "minimum: 0",
    ),
    case(
        "answer-bounds",
        STATUS,
        r##"        status:
          description: How far the job is.
          allOf:
            - $ref: "#/components/schemas/Status"
          x-accepts: ["null"]
        shares:
          description: How much each brush has done.
          type: array
          items:
            type: string
            x-numeric:
              maximum: 1
          x-provenance: partial
          x-accepts: ["null"]
"##,
        schema!("JobData/properties/shares/items/x-numeric/maximum"),
        "maximum: 1",
    ),
    case(
        "named-schemas",
        "          description: What the picture should show.\n          type: string",
        "          description: What the picture should show.\n          type: string\n          enum:\n            - \"a house\"",
        schema!("PaintRequest/properties/subject"),
        "subject:",
    ),
    case(
        "schema-types",
        "        subject:\n          description: What the picture should show.\n          type: string",
        "        subject:\n          description: What the picture should show.",
        schema!("PaintRequest/properties/subject"),
        "subject:",
    ),
    case(
        "schema-types",
        "          pattern: \"^https?://.+\"",
        "          format: uri",
        schema!("PaintRequest/properties/callbackUrl/format"),
        "format: uri",
    ),
    case(
        "nullable",
        "          allOf:\n            - $ref: \"#/components/schemas/Status\"",
        "          nullable: true\n          allOf:\n            - $ref: \"#/components/schemas/Status\"",
        schema!("JobData/properties/status/nullable"),
        "nullable: true",
    ),
    case(
        "nullable",
        "      description: The job asked for.\n",
        "      description: The job asked for.\n      nullable: true\n",
        ask!("/requestBody/content/application~1json/schema"),
        "schema:",
    ),
    case(
        "composition",
        "            - $ref: \"#/components/schemas/Brush\"",
        "            - $ref: \"#/components/schemas/Brush\"\n            - $ref: \"#/components/schemas/Brush\"",
        schema!("PaintRequest/properties/brush/allOf"),
        "allOf:",
    ),
    case(
        "composition",
        "                - rate",
        "                - rate\n              properties: {}",
        schema!("PaintRequest/allOf/0/oneOf/1"),
        "- required:",
    ),
    case(
        "composition",
        "      allOf:\n        - oneOf:\n            - required:\n                - size\n            - required:\n                - rate\n",
        "      oneOf:\n        - required:\n            - size\n        - required:\n            - rate\n",
        schema!("PaintRequest/oneOf"),
        "oneOf:",
    ),
    case(
        "composition",
        "      allOf:\n        - oneOf:",
        "      allOf:\n        - {}\n        - oneOf:",
        schema!("PaintRequest/allOf"),
        "allOf:",
    ),
    case(
        "additional-properties",
        "additionalProperties: false",
        "additionalProperties: true",
        schema!("PaintRequest/additionalProperties"),
        "additionalProperties: true",
    ),
    case("required-names", ENVELOPE_CODE, CODE_TWICE, schema!("Envelope/required/1"), "- code"),
    case("bounds", ENVELOPE_CODE, SHORT_ENVELOPE_CODE, schema!("Envelope/properties/code/minLength"), "minLength: 2"),
    case(
        "bounds",
        "          minLength: 1",
        "          minItems: 1",
        schema!("PaintRequest/properties/jobId/minItems"),
        "minItems: 1",
    ),
    case(
        "bounds",
        "          maximum: 30\n",
        "          maximum: 30.5\n",
        schema!("PaintRequest/properties/size/maximum"),
        "maximum: 30.5",
    ),
    case(
        "patterns",
        "^https?://.+",
        "^(?!ftp)",
        schema!("PaintRequest/properties/callbackUrl/pattern"),
        "pattern: \"^(?!ftp)\"",
    ),
    case(
        "patterns",
        "^https?://.+",
        "^https?://[a-z--b].+",
        schema!("PaintRequest/properties/callbackUrl/pattern"),
        "pattern: \"^https?://[a-z--b].+\"",
    ),
    case("defaults", "default: 20", "default: 31", schema!("PaintRequest/properties/size/default"), "default: 31"),
    case("enum-values", "        - \"ink\"", "        - \"ink\"\n        - 3", schema!("Kind/enum/2"), "- 3"),
    case(
        "variant-names",
        "        - \"ink\"",
        "        - \"ink\"\n        - \"I.N.K.\"",
        schema!("Kind/enum/2"),
        "- \"I.N.K.\"",
    ),
    case(
        "variant-names",
        "value: \"fine\"",
        "value: \"other\"",
        schema!("Brush/x-known-values/0"),
        "- value: \"other\"",
    ),
    case("known-value-names", "          name: Done\n", "", schema!("Status/x-known-values/1"), "- value: 1"),
    case("known-value-names", "name: Done", "name: is_done", schema!("Status/x-known-values/1/name"), "name: is_done"),
    case("states", "state: succeeded", "state: done", schema!("Status/x-known-values/1/state"), "state: done"),
    case(
        "aliases",
        "[\"job_id\"]",
        "[\"subject\"]",
        schema!("PaintRequest/properties/jobId/x-aliases/0"),
        "x-aliases: [\"subject\"]",
    ),
    case(
        "accepts",
        "x-accepts: [\"string\"]",
        "x-accepts: [\"boolean\"]",
        schema!("PaintRequest/properties/size/x-accepts/0"),
        "x-accepts: [\"boolean\"]",
    ),
    case(
        "absent-members",
        "            - $ref: \"#/components/schemas/JobData\"\n          x-accepts: [\"null\"]",
        "            - $ref: \"#/components/schemas/JobData\"",
        schema!("AskResponse/properties/data"),
        "data:",
    ),
    case(
        "absent-members",
        "x-accepts: [\"string\"]",
        "x-accepts: [\"null\"]",
        schema!("PaintRequest/properties/size/x-accepts"),
        "x-accepts: [\"null\"]",
    ),
    case(
        "inferred-properties",
        "          x-provenance: inferred\n",
        "",
        schema!("AskRequest/properties/jobId"),
        "jobId:",
    ),
    case(
        "descriptions",
        "description: The job asked for.",
        "description: Ask request.",
        schema!("AskRequest/description"),
        "description: Ask request.",
    ),
    case(
        "descriptions",
        "description: What the picture should show.",
        "description: What the picture should show",
        schema!("PaintRequest/properties/subject/description"),
        "description: What the picture should show",
    ),
    case(
        "descriptions",
        "          name: Done\n          description: The job has ended well.\n",
        "          name: Done\n",
        schema!("Status/x-known-values/1"),
        "- value: 1",
    ),
    case(
        "sound-schemas",
        "description: State of one job.\n",
        "description: State of one job.\n      required: {}\n",
        "#/components",
        "components:",
    ),
    case(
        "defaults",
        "          minLength: 1",
        "          minLength: 1\n          default: \"a\"",
        schema!("PaintRequest/properties/jobId/default"),
        "default: \"a\"",
    ),
];
