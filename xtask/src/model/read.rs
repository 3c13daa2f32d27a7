//! Fills the model from parsed documents. An error names the document, the line, the place and the fix.

mod members;

use anyhow::{Context, Result, bail};
use serde_json::Number;

use self::members::{boolean, member, optional_text, text, texts, unsigned};
use super::*;
use crate::document::source::Source;
use crate::document::yaml::{Data, Node};

/// Reads all documents into one model.
pub fn read(sources: &[Source]) -> Result<Api> {
    let mut documents = Vec::new();
    for source in sources {
        let part = document(source).with_context(|| format!("reading {}", source.path))?;
        documents.push(part);
    }
    let mut api = Api::join(documents)?;
    check_references(&api)?;
    find_roles(&mut api)?;
    Ok(api)
}

/// Checks that every schema and operation that the model refers to by name exists, because the emitters rely on it.
fn check_references(api: &Api) -> Result<()> {
    for operation in api.operations() {
        let place = || format!("operation `{}`", operation.id);
        api.object(&operation.request).with_context(place)?;
        api.object(&operation.response).with_context(place)?;
        if let Some(callback) = &operation.callback {
            api.object(&callback.body).with_context(place)?;
            api.object(&callback.receipt.schema).with_context(place)?;
        }
        if let Some(job) = &operation.job {
            api.operation(&job.query).with_context(place)?;
        }
    }
    for schema in &api.schemas {
        let SchemaKind::Object(object) = &schema.kind else { continue };
        for property in &object.properties {
            named(&property.shape)
                .map(|name| api.schema(name))
                .transpose()
                .with_context(|| format!("schema `{}`, property `{}`", schema.name, property.name))?;
        }
    }
    Ok(())
}

/// Finds in each request the caller's id and the model.
fn find_roles(api: &mut Api) -> Result<()> {
    let mut found = Vec::new();
    for operation in api.operations() {
        let place = || format!("operation `{}`", operation.id);
        let ids = marked(api, &operation.request, &|role| matches!(role, Role::CallerId { .. })).with_context(place)?;
        let models = marked(api, &operation.request, &|role| role == Role::Model).with_context(place)?;
        if ids.len() > 1 || models.len() > 1 {
            bail!("operation `{}`: its request marks two caller's ids or two models", operation.id);
        }
        let caller_id = ids
            .into_iter()
            .next()
            .map(|(path, role)| CallerId { path, unique: role == Role::CallerId { unique: true } });
        found.push((caller_id, models.into_iter().next().map(|(path, _)| path)));
    }
    let operations = api.documents.iter_mut().flat_map(|document| &mut document.operations);
    for (operation, (caller_id, model)) in operations.zip(found) {
        (operation.caller_id, operation.model) = (caller_id, model);
    }
    Ok(())
}

/// The properties of a request with such a mark, each by the names that lead to it. Lists are not looked into: what a
/// task has once is not in a list.
fn marked(api: &Api, schema: &str, wanted: &dyn Fn(Role) -> bool) -> Result<Vec<(Vec<String>, Role)>> {
    let mut found = Vec::new();
    for property in &api.object(schema)?.properties {
        if let Some(role) = property.role.filter(|role| wanted(*role)) {
            found.push((vec![property.name.clone()], role));
        }
        let Shape::Named(inner) = &property.shape else { continue };
        if !matches!(api.schema(inner)?.kind, SchemaKind::Object(_)) {
            continue;
        }
        for (mut path, role) in marked(api, inner, wanted)? {
            path.insert(0, property.name.clone());
            found.push((path, role));
        }
    }
    Ok(found)
}

fn named(shape: &Shape) -> Option<&str> {
    match shape {
        Shape::Named(name) => Some(name),
        Shape::List { item, .. } => named(item),
        _ => None,
    }
}

fn document(source: &Source) -> Result<(Document, Vec<Schema>, Vec<KeyHeader>)> {
    let root = &source.root;
    let info = member(root, "info")?;
    let mut operations = Vec::new();
    let mut failure = None;
    for (path, item) in member(root, "paths")?.entries() {
        for (method, node) in item.entries() {
            if method.text != "post" {
                bail!("line {}: `{}` is not read: every operation is a `post`", method.line, method.text);
            }
            operations.push(
                operation(root, &path.text, node)
                    .with_context(|| format!("line {}: operation at `{}`", node.line, path.text))?,
            );
            failure = failure.or_else(|| node.get("responses")?.get("4XX"));
        }
    }
    let components = member(root, "components")?;
    let mut schemas = Vec::new();
    for (name, node) in member(components, "schemas")?.entries() {
        schemas.push(schema(&name.text, node).with_context(|| format!("line {}: schema `{}`", node.line, name.text))?);
    }
    spread_nullable(member(components, "schemas")?, &mut schemas)?;
    let keys = match components.get("securitySchemes") {
        Some(schemes) => schemes.entries().iter().map(|(_, node)| key_header(node)).collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let document = Document {
        name: source.name.clone(),
        title: text(info, "title")?,
        version: text(info, "version")?,
        description: optional_text(info, "description")?.unwrap_or_default(),
        server: root
            .get("servers")
            .and_then(|servers| servers.items().first())
            .map(|server| text(server, "url"))
            .transpose()?,
        tags: root.get("tags").map(Node::items).unwrap_or_default().iter().map(tag).collect::<Result<_>>()?,
        operations,
        failure: failure.map(|node| body(root, node)).transpose()?,
        yaml: source.text.clone(),
        json: root.to_json(),
    };
    Ok((document, schemas, keys))
}

fn tag(node: &Node) -> Result<Tag> {
    Ok(Tag { name: text(node, "name")?, description: optional_text(node, "description")?.unwrap_or_default() })
}

fn key_header(node: &Node) -> Result<KeyHeader> {
    Ok(KeyHeader {
        header: text(node, "name")?,
        description: optional_text(node, "description")?.unwrap_or_default(),
        source: source(node)?,
    })
}

fn operation(root: &Node, path: &str, node: &Node) -> Result<Operation> {
    let page = node.get("externalDocs").map(|docs| text(docs, "url")).transpose()?;
    let parameters = node.get("parameters").map(Node::items).unwrap_or_default();
    let tag = node.get("tags").and_then(|tags| tags.items().first()).and_then(Node::text);
    let request = body(root, member(node, "requestBody")?)?;
    let response = body(root, member(member(node, "responses")?, "200")?)?;
    Ok(Operation {
        id: text(node, "operationId")?,
        path: path.to_owned(),
        tag: tag.context("`tags` must name one tag")?.to_owned(),
        summary: text(node, "summary")?,
        description: optional_text(node, "description")?.unwrap_or_default(),
        page,
        provenance: provenance(node)?,
        source: source(node)?,
        idempotent: boolean(node, "x-idempotent")?,
        parameters: parameters.iter().map(parameter).collect::<Result<_>>()?,
        request: request.schema,
        request_notes: request.notes,
        response: response.schema,
        response_notes: response.notes,
        caller_id: None,
        model: None,
        job: node.get("x-job").map(job).transpose()?,
        callback: node.get("callbacks").map(|callbacks| callback(root, callbacks)).transpose()?,
    })
}

fn parameter(node: &Node) -> Result<PathParameter> {
    let place = text(node, "in")?;
    if place != "path" {
        bail!("line {}: a parameter in `{place}` is not read: move it into the path or the body", node.line);
    }
    Ok(PathParameter {
        name: text(node, "name")?,
        description: text(node, "description")?,
        source: source(node)?,
        schema: reference(member(node, "schema")?)?,
        multi_segment: boolean(node, "x-multi-segment")?,
    })
}

fn job(node: &Node) -> Result<Job> {
    let expression = text(node, "id")?;
    let tokens = |pointer: &str| pointer.split('/').map(str::to_owned).collect();
    let id = if let Some(pointer) = expression.strip_prefix("$request.body#/") {
        IdSource::Request(tokens(pointer))
    } else if let Some(pointer) = expression.strip_prefix("$response.body#/") {
        IdSource::Response(tokens(pointer))
    } else {
        bail!("line {}: `{expression}` must begin with `$request.body#/` or `$response.body#/`", node.line);
    };
    let parameters = node.get("parameters").map(Node::entries).unwrap_or_default();
    Ok(Job {
        query: text(node, "query")?,
        id,
        field: text(node, "field")?,
        parameters: parameters
            .iter()
            .map(|(name, value)| {
                Ok((name.text.clone(), value.text().context("a parameter must be a text")?.to_owned()))
            })
            .collect::<Result<_>>()?,
    })
}

fn callback(root: &Node, node: &Node) -> Result<Callback> {
    let [(_, expressions)] = node.entries() else {
        bail!("line {}: an operation has one callback", node.line);
    };
    let [(expression, item)] = expressions.entries() else {
        bail!("line {}: a callback has one address", expressions.line);
    };
    let field = expression.text.strip_prefix("{$request.body#/").and_then(|rest| rest.strip_suffix('}'));
    let post = member(item, "post")?;
    let pushed = body(root, member(post, "requestBody")?)?;
    Ok(Callback {
        field: field
            .with_context(|| format!("line {}: the address must be `{{$request.body#/NAME}}`", expression.line))?
            .to_owned(),
        description: optional_text(post, "description")?.unwrap_or_default(),
        source: source(post)?,
        body: pushed.schema,
        body_notes: pushed.notes,
        receipt: body(root, member(member(post, "responses")?, "200")?)?,
    })
}

/// A request body or an answer, which may be a component itself.
fn body(root: &Node, node: &Node) -> Result<Body> {
    if let Some(pointer) = node.get("$ref").and_then(Node::text) {
        let target = root.at(pointer).with_context(|| format!("line {}: `{pointer}` leads nowhere", node.line))?;
        return body(root, target);
    }
    let media = member(member(node, "content")?, "application/json")?;
    let examples = media.get("examples").map(Node::entries).unwrap_or_default();
    let notes = Notes {
        description: optional_text(node, "description")?.unwrap_or_default(),
        source: source(node)?,
        examples: examples.iter().map(|(key, node)| example(&key.text, node)).collect::<Result<_>>()?,
    };
    Ok(Body { schema: reference(member(media, "schema")?)?, notes })
}

fn example(key: &str, node: &Node) -> Result<Example> {
    Ok(Example {
        key: key.to_owned(),
        summary: text(node, "summary")?,
        quirk: optional_text(node, "x-quirk")?,
        value: member(node, "value")?.to_json(),
    })
}

fn schema(name: &str, node: &Node) -> Result<Schema> {
    let kind = match text(node, "type")?.as_str() {
        "object" => SchemaKind::Object(object(node)?),
        "string" => SchemaKind::TextEnum(enumeration(node, |value| value.text().map(str::to_owned))?),
        "integer" => SchemaKind::IntegerEnum(enumeration(node, |value| value.number()?.as_i64())?),
        other => bail!(
            "line {}: a component of type `{other}` is not read: only objects and enums are components",
            node.line
        ),
    };
    Ok(Schema {
        name: name.to_owned(),
        description: text(node, "description")?,
        provenance: provenance(node)?,
        source: source(node)?,
        kind,
    })
}

/// Makes the properties nullable that refer to a nullable component.
fn spread_nullable(components: &Node, schemas: &mut [Schema]) -> Result<()> {
    let mut nullable = Vec::new();
    for (name, node) in components.entries() {
        if boolean(node, "nullable")? {
            nullable.push(name.text.as_str());
        }
    }
    for schema in schemas {
        let SchemaKind::Object(object) = &mut schema.kind else { continue };
        for property in &mut object.properties {
            property.nullable |= matches!(&property.shape, Shape::Named(name) if nullable.contains(&name.as_str()));
        }
    }
    Ok(())
}

fn enumeration<T>(node: &Node, value: impl Fn(&Node) -> Option<T>) -> Result<Enum<T>> {
    let read_value = |node: &Node| {
        value(node).with_context(|| format!("line {}: the value does not have the schema's type", node.line))
    };
    if let Some(known) = node.get("x-known-values") {
        let values = known.items().iter().map(|item| {
            Ok(EnumValue {
                value: read_value(member(item, "value")?)?,
                name: optional_text(item, "name")?,
                description: optional_text(item, "description")?,
                state: item.get("state").map(state).transpose()?,
                provenance: provenance(item)?,
                source: source(item)?,
            })
        });
        return Ok(Enum { values: values.collect::<Result<_>>()?, open: true });
    }
    let values = member(node, "enum")?.items().iter().map(|item| {
        let (name, description, state, source) = (None, None, None, None);
        Ok(EnumValue { value: read_value(item)?, name, description, state, provenance: Provenance::Published, source })
    });
    Ok(Enum { values: values.collect::<Result<_>>()?, open: false })
}

fn state(node: &Node) -> Result<State> {
    Ok(match node.text() {
        Some("queued") => State::Queued,
        Some("running") => State::Running,
        Some("succeeded") => State::Succeeded,
        Some("failed") => State::Failed,
        Some("cancelled") => State::Cancelled,
        _ => bail!("line {}: a state is queued, running, succeeded, failed or cancelled", node.line),
    })
}

fn object(node: &Node) -> Result<Object> {
    let required: Vec<_> =
        node.get("required").map(Node::items).unwrap_or_default().iter().filter_map(Node::text).collect();
    let mut properties = Vec::new();
    for (name, property) in node.get("properties").map(Node::entries).unwrap_or_default() {
        properties.push(
            self::property(&name.text, property, required.contains(&name.text.as_str()))
                .with_context(|| format!("line {}: property `{}`", name.line, name.text))?,
        );
    }
    let unknown = match node.get("additionalProperties").map(|node| &node.data) {
        None => Unknown::Ignored,
        Some(Data::Boolean(false)) => Unknown::Refused,
        Some(Data::Map(entries)) if entries.is_empty() => Unknown::Kept,
        Some(_) => bail!("line {}: `additionalProperties` is `false`, `{{}}` or absent", node.line),
    };
    let parts = node.get("allOf").map(Node::items).unwrap_or_default().iter();
    let branches = parts.flat_map(|part| part.get("oneOf").map(Node::items).unwrap_or_default());
    Ok(Object { properties, unknown, exactly_one: branches.map(branch).collect::<Result<_>>()? })
}

/// One branch of `oneOf`: the member that it requires, possibly inside another.
fn branch(node: &Node) -> Result<Vec<String>> {
    if let Some([name]) = node.get("required").map(Node::items) {
        return Ok(vec![name.text().context("a name is a text")?.to_owned()]);
    }
    if let Some([(outer, inner)]) = node.get("properties").map(Node::entries) {
        let mut path = vec![outer.text.clone()];
        path.extend(branch(inner)?);
        return Ok(path);
    }
    bail!("line {}: a branch of `oneOf` requires one member", node.line)
}

fn property(name: &str, node: &Node, required: bool) -> Result<Property> {
    Ok(Property {
        name: name.to_owned(),
        description: optional_text(node, "description")?.unwrap_or_default(),
        provenance: provenance(node)?,
        source: source(node)?,
        role: role(node)?,
        required,
        nullable: boolean(node, "nullable")?,
        aliases: texts(node, "x-aliases")?,
        accepts: texts(node, "x-accepts")?.iter().map(|word| json_type(word)).collect::<Result<_>>()?,
        default: node.get("default").map(Node::to_json),
        shape: shape(node)?,
    })
}

/// What the property is for, by its one mark.
fn role(node: &Node) -> Result<Option<Role>> {
    let caller_id = match optional_text(node, "x-caller-id")?.as_deref() {
        None => None,
        Some("repeatable") => Some(Role::CallerId { unique: false }),
        Some("unique") => Some(Role::CallerId { unique: true }),
        Some(other) => bail!("line {}: `x-caller-id` is `repeatable` or `unique`, not `{other}`", node.line),
    };
    let picture = boolean(node, "x-picture")?.then_some(Role::Picture);
    let model = boolean(node, "x-model")?.then_some(Role::Model);
    let mut roles = [caller_id, picture, model].into_iter().flatten();
    match (roles.next(), roles.next()) {
        (role, None) => Ok(role),
        _ => bail!("line {}: a property has one of `x-caller-id`, `x-picture` and `x-model`", node.line),
    }
}

fn json_type(word: &str) -> Result<JsonType> {
    Ok(match word {
        "integer" => JsonType::Integer,
        "number" => JsonType::Number,
        "string" => JsonType::String,
        "boolean" => JsonType::Boolean,
        "array" => JsonType::Array,
        "null" => JsonType::Null,
        other => bail!("`x-accepts` does not know the type `{other}`"),
    })
}

fn shape(node: &Node) -> Result<Shape> {
    if node.get("$ref").is_some() {
        return Ok(Shape::Named(reference(node)?));
    }
    if let Some(all) = node.get("allOf") {
        let [one] = all.items() else { bail!("line {}: `allOf` holds one `$ref`", all.line) };
        return Ok(Shape::Named(reference(one)?));
    }
    Ok(match text(node, "type")?.as_str() {
        "boolean" => Shape::Boolean,
        "integer" => integer(node)?,
        "number" => Shape::Number {
            minimum: node.get("minimum").and_then(Node::number).cloned(),
            maximum: node.get("maximum").and_then(Node::number).cloned(),
            above_minimum: boolean(node, "exclusiveMinimum")?,
        },
        "string" => Shape::Text {
            min_length: unsigned(node, "minLength")?,
            max_length: unsigned(node, "maxLength")?,
            pattern: optional_text(node, "pattern")?,
            numeric: node.get("x-numeric").map(numeric).transpose()?,
        },
        "array" => Shape::List {
            item: Box::new(shape(member(node, "items")?)?),
            min_items: unsigned(node, "minItems")?,
            max_items: unsigned(node, "maxItems")?,
            unique: boolean(node, "uniqueItems")?,
        },
        other => bail!("line {}: the type `{other}` is not read here: make it a component", node.line),
    })
}

fn integer(node: &Node) -> Result<Shape> {
    let values = node.get("enum").map(Node::items).unwrap_or_default();
    let whole = |node: &Node| {
        node.number().and_then(Number::as_i64).with_context(|| format!("line {}: a whole number is needed", node.line))
    };
    Ok(Shape::Integer {
        minimum: node.get("minimum").map(whole).transpose()?,
        maximum: node.get("maximum").map(whole).transpose()?,
        one_of: values.iter().map(whole).collect::<Result<_>>()?,
    })
}

fn numeric(node: &Node) -> Result<Numeric> {
    Ok(Numeric {
        minimum: node.get("minimum").and_then(Node::number).cloned(),
        maximum: node.get("maximum").and_then(Node::number).cloned(),
        integer: boolean(node, "integer")?,
    })
}

/// The component that a `$ref` names.
fn reference(node: &Node) -> Result<String> {
    let pointer = text(node, "$ref")?;
    let name = pointer.strip_prefix("#/components/schemas/");
    Ok(name.with_context(|| format!("line {}: `{pointer}` is not a component's schema", node.line))?.to_owned())
}

fn provenance(node: &Node) -> Result<Provenance> {
    Ok(match optional_text(node, "x-provenance")?.as_deref() {
        None | Some("published") => Provenance::Published,
        Some("partial") => Provenance::Partial,
        Some("observed") => Provenance::Observed,
        Some("inferred") => Provenance::Inferred,
        Some(other) => bail!("line {}: `x-provenance` does not know `{other}`", node.line),
    })
}

/// Where the facts come from, in sentences.
fn source(node: &Node) -> Result<Option<String>> {
    optional_text(node, "x-source")
}
