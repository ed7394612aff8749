//! All services and methods of the contracts, from their descriptors.

use std::collections::HashMap;
use std::sync::LazyLock;

use buffa::Message;
use buffa_descriptor::generated::descriptor::FileDescriptorSet;
use buffa_descriptor::generated::descriptor::method_options::IdempotencyLevel as Declared;
use connectrpc::IdempotencyLevel;
use lombard_contracts::DESCRIPTOR_SET;

/// A service of the contracts.
#[derive(Debug, Clone)]
pub struct Service {
    /// With its package: `bank.ledger.v1.LedgerService`.
    pub name: String,
    /// In the order of the contract.
    pub methods: Vec<Method>,
}

impl Service {
    /// The name that people use: `ledger` for `bank.ledger.v1.LedgerService`.
    pub fn short_name(&self) -> &str {
        let mut parts = self.name.rsplit('.').skip(1);
        match parts.next() {
            Some(version) if is_version(version) => parts.next().unwrap_or(&self.name),
            Some(package) => package,
            None => &self.name,
        }
    }
}

/// A method of the contracts.
#[derive(Debug, Clone)]
pub struct Method {
    /// `CreateEntry`.
    pub name: String,
    /// `/bank.ledger.v1.LedgerService/CreateEntry`.
    pub path: String,
    /// The request message with its package.
    pub input: String,
    /// The response message with its package.
    pub output: String,
    /// Whether it may be sent again, as the contract says.
    pub idempotency: IdempotencyLevel,
    /// Whether either side sends more than one message.
    pub streaming: bool,
}

/// All services of the contracts, sorted by name.
pub fn services() -> &'static [Service] {
    static SERVICES: LazyLock<Vec<Service>> = LazyLock::new(read_services);
    &SERVICES
}

/// What the contract says about repeating a method.
pub(crate) fn idempotency(path: &str) -> IdempotencyLevel {
    static LEVELS: LazyLock<HashMap<&'static str, IdempotencyLevel>> = LazyLock::new(|| {
        services()
            .iter()
            .flat_map(|service| &service.methods)
            .map(|method| (method.path.as_str(), method.idempotency))
            .collect()
    });
    LEVELS.get(path).copied().unwrap_or_default()
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v')
        .is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

#[expect(
    clippy::expect_used,
    reason = "the build compiled these bytes; a test reads them too"
)]
fn read_services() -> Vec<Service> {
    let set = FileDescriptorSet::decode_from_slice(DESCRIPTOR_SET)
        .expect("the build writes valid descriptors");
    let mut services = Vec::new();
    for file in &set.file {
        let package = file.package.as_deref().unwrap_or_default();
        for service in &file.service {
            let name = format!("{package}.{}", service.name.as_deref().unwrap_or_default());
            let methods = service
                .method
                .iter()
                .map(|method| {
                    let short = method.name.clone().unwrap_or_default();
                    Method {
                        path: format!("/{name}/{short}"),
                        name: short,
                        input: message(method.input_type.as_deref()),
                        output: message(method.output_type.as_deref()),
                        idempotency: match method.options.idempotency_level {
                            Some(Declared::NO_SIDE_EFFECTS) => IdempotencyLevel::NoSideEffects,
                            Some(Declared::IDEMPOTENT) => IdempotencyLevel::Idempotent,
                            _ => IdempotencyLevel::Unknown,
                        },
                        streaming: method.client_streaming.unwrap_or(false)
                            || method.server_streaming.unwrap_or(false),
                    }
                })
                .collect();
            services.push(Service { name, methods });
        }
    }
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

/// Descriptors write `.bank.ledger.v1.Entry`.
fn message(name: Option<&str>) -> String {
    name.unwrap_or_default().trim_start_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_are_read() {
        let customer = services()
            .iter()
            .find(|service| service.name == "bank.customer.v1.CustomerService")
            .unwrap();
        assert_eq!(customer.short_name(), "customer");
        let get = customer
            .methods
            .iter()
            .find(|method| method.name == "GetCustomer")
            .unwrap();
        assert_eq!(get.path, "/bank.customer.v1.CustomerService/GetCustomer");
        assert_eq!(get.input, "bank.customer.v1.GetCustomerRequest");
        assert_eq!(get.idempotency, IdempotencyLevel::NoSideEffects);
        assert_eq!(idempotency(&get.path), IdempotencyLevel::NoSideEffects);
        assert_eq!(idempotency("/no.such/Method"), IdempotencyLevel::Unknown);
    }
}
