//! What the contracts say for people: the comments of methods, messages and fields.

use std::collections::BTreeMap;

use buffa::Message;
use buffa_descriptor::generated::descriptor::field_descriptor_proto::{Label, Type};
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};
use lombard_contracts::DESCRIPTOR_SET;

/// The numbers of `google.protobuf.FileDescriptorProto`'s fields in the paths of comments.
const MESSAGES: i32 = 4;
const SERVICES: i32 = 6;
const FIELDS: i32 = 2;
const METHODS: i32 = 2;

/// The comments and messages of all contracts.
#[derive(Debug)]
pub struct Contracts {
    /// By `/package.Service/Method`.
    methods: BTreeMap<String, String>,
    /// By full name.
    messages: BTreeMap<String, MessageShape>,
    enums: BTreeMap<String, Vec<String>>,
}

#[derive(Debug)]
struct MessageShape {
    fields: Vec<Field>,
    /// Made by the compiler for a `map<…>`.
    map: bool,
}

#[derive(Debug)]
struct Field {
    name: String,
    repeated: bool,
    kind: Kind,
    comment: String,
}

#[derive(Debug)]
enum Kind {
    /// As JSON has it.
    Scalar(&'static str),
    Message(String),
    Enum(String),
}

impl Contracts {
    /// Reads the descriptors that are built in.
    ///
    /// # Errors
    /// They are damaged: the binary was built wrongly.
    pub fn read() -> Result<Self, buffa::DecodeError> {
        let set = FileDescriptorSet::decode_from_slice(DESCRIPTOR_SET)?;
        let mut contracts = Self {
            methods: BTreeMap::new(),
            messages: BTreeMap::new(),
            enums: BTreeMap::new(),
        };
        for file in &set.file {
            contracts.add(file);
        }
        Ok(contracts)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let package = file.package.as_deref().unwrap_or_default();
        let comments = comments(file);
        let comment = |path: &[i32]| comments.get(path).cloned().unwrap_or_default();
        for (place, service) in (0..).zip(&file.service) {
            let service_name = service.name.as_deref().unwrap_or_default();
            for (method_place, method) in (0..).zip(&service.method) {
                let path = [SERVICES, place, METHODS, method_place];
                let name = method.name.as_deref().unwrap_or_default();
                self.methods
                    .insert(format!("/{package}.{service_name}/{name}"), comment(&path));
            }
        }
        for (place, message) in (0..).zip(&file.message_type) {
            self.add_message(package, message, &|field| {
                comment(&[MESSAGES, place, FIELDS, field])
            });
        }
        for declared in &file.enum_type {
            self.add_enum(package, declared);
        }
    }

    fn add_message(
        &mut self,
        scope: &str,
        message: &DescriptorProto,
        comment: &dyn Fn(i32) -> String,
    ) {
        let name = format!("{scope}.{}", message.name.as_deref().unwrap_or_default());
        for nested in &message.nested_type {
            self.add_message(&name, nested, &|_| String::new());
        }
        for declared in &message.enum_type {
            self.add_enum(&name, declared);
        }
        let fields = (0..)
            .zip(&message.field)
            .map(|(place, field)| Field {
                name: field.name.clone().unwrap_or_default(),
                repeated: field.label == Some(Label::LABEL_REPEATED),
                kind: kind(field),
                comment: comment(place),
            })
            .collect();
        let map = message.options.map_entry.unwrap_or(false);
        self.messages.insert(name, MessageShape { fields, map });
    }

    fn add_enum(&mut self, scope: &str, declared: &EnumDescriptorProto) {
        let name = format!("{scope}.{}", declared.name.as_deref().unwrap_or_default());
        let values = declared.value.iter().filter_map(|value| value.name.clone());
        self.enums.insert(name, values.collect());
    }

    /// The first sentence of a method's comment.
    pub fn summary(&self, method_path: &str) -> &str {
        let comment = self.methods.get(method_path).map_or("", String::as_str);
        let sentence = comment.split_once(". ").map_or(comment, |(first, _)| first);
        sentence.trim_end_matches(['.', ':'])
    }

    /// A message as a person writes it in JSON, with the comments of its fields.
    pub fn describe(&self, message: &str) -> String {
        let mut text = String::new();
        self.describe_into(&mut text, message, 1, &mut Vec::new());
        text
    }

    fn describe_into(
        &self,
        text: &mut String,
        message: &str,
        depth: usize,
        inside: &mut Vec<String>,
    ) {
        let indent = "  ".repeat(depth);
        let Some(shape) = self.messages.get(message) else {
            return;
        };
        inside.push(message.to_owned());
        for field in &shape.fields {
            for line in field.comment.lines() {
                text.push_str(&format!("{indent}// {line}\n"));
            }
            let (open, close) = if field.repeated { ("[", "]") } else { ("", "") };
            match &field.kind {
                Kind::Scalar(scalar) => {
                    text.push_str(&format!(
                        "{indent}\"{}\": {open}{scalar}{close}\n",
                        json_name(&field.name)
                    ));
                }
                Kind::Enum(name) => {
                    let values = self.enums.get(name).map(|values| values.join(" | "));
                    let values = values.unwrap_or_default();
                    text.push_str(&format!(
                        "{indent}\"{}\": {open}{values}{close}\n",
                        json_name(&field.name)
                    ));
                }
                Kind::Message(name) if self.messages.get(name).is_some_and(|shape| shape.map) => {
                    text.push_str(&format!(
                        "{indent}\"{}\": {{\"…\": \"…\"}}\n",
                        json_name(&field.name)
                    ));
                }
                Kind::Message(name) if inside.contains(name) => {
                    text.push_str(&format!(
                        "{indent}\"{}\": {open}…{close}\n",
                        json_name(&field.name)
                    ));
                }
                Kind::Message(name) => {
                    text.push_str(&format!(
                        "{indent}\"{}\": {open}{{\n",
                        json_name(&field.name)
                    ));
                    self.describe_into(text, name, depth + 1, inside);
                    text.push_str(&format!("{indent}}}{close}\n"));
                }
            }
        }
        inside.pop();
    }
}

/// The comments of a file by their descriptor path, on one line where they were wrapped.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    file.source_code_info
        .location
        .iter()
        .filter_map(|location| {
            let comment = location.leading_comments.as_deref()?;
            let lines: Vec<&str> = comment.lines().map(str::trim).collect();
            Some((location.path.clone(), lines.join(" ").trim().to_owned()))
        })
        .collect()
}

fn kind(field: &FieldDescriptorProto) -> Kind {
    let name = || {
        let name = field.type_name.as_deref().unwrap_or_default();
        name.trim_start_matches('.').to_owned()
    };
    match field.r#type {
        Some(Type::TYPE_MESSAGE | Type::TYPE_GROUP) => Kind::Message(name()),
        Some(Type::TYPE_ENUM) => Kind::Enum(name()),
        Some(Type::TYPE_BOOL) => Kind::Scalar("true | false"),
        Some(Type::TYPE_STRING) => Kind::Scalar("\"…\""),
        Some(Type::TYPE_BYTES) => Kind::Scalar("\"base64…\""),
        _ => Kind::Scalar("0"),
    }
}

/// JSON's name of a field: `amount_minor` is `amountMinor`. Both are understood.
fn json_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
        } else if upper {
            text.push(letter.to_ascii_uppercase());
            upper = false;
        } else {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_their_comments() {
        let contracts = Contracts::read().unwrap();
        assert_eq!(
            contracts.summary("/bank.ledger.v1.LedgerService/CreateEntry"),
            "Commits one entry, or refuses it with a typed error"
        );
        assert_eq!(contracts.summary("/no.such/Method"), "");
    }

    #[test]
    fn a_message_is_shown_as_json_with_its_comments() {
        let contracts = Contracts::read().unwrap();
        let text = contracts.describe("bank.ledger.v1.CreateEntryRequest");
        for line in [
            "  \"entry\": {\n",
            "    // 2 to 128 legs. No leg is zero.\n    \"legs\": [{\n",
            "      \"amountMinor\": 0\n",
            "    \"metadata\": {\"…\": \"…\"}\n",
            "  \"dryRun\": true | false\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
