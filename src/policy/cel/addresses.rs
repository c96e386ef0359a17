//! IP addresses and CIDRs, as Kubernetes' CEL libraries have them (`k8s.io/apiserver/pkg/cel/library`,
//! ip.go and cidr.go), over the types of std and ipnet.

use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, DeclarationError, ExecutionError, Value};
use ipnet::IpNet;

use crate::policy::compile::cidr as network_of;

#[derive(Debug, PartialEq, Eq)]
struct Ip(IpAddr);

impl Opaque for Ip {
    fn runtime_type_name(&self) -> &'static str {
        "net.IP"
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Cidr(IpNet);

impl Opaque for Cidr {
    fn runtime_type_name(&self) -> &'static str {
        "net.CIDR"
    }
}

type Result<T> = std::result::Result<T, ExecutionError>;

/// Adds the functions to `context`.
pub(super) fn register(context: &mut Context<'_, '_>) -> std::result::Result<(), DeclarationError> {
    context.add_function("isIP", |text: Arc<String>| parse_ip(&text).is_ok())?;
    context.add_function("isCIDR", |text: Arc<String>| parse_cidr(&text).is_ok())?;
    context.add_function("ip", |value: Value| ip(&value).map(|ip| opaque(Ip(ip))))?;
    context.add_function("cidr", |value: Value| cidr(&value).map(|cidr| opaque(Cidr(cidr))))?;
    context.add_function("family", |This(value): This<Value>| -> Result<i64> {
        Ok(if ip(&value)?.is_ipv4() { 4 } else { 6 })
    })?;
    context.add_function("isLoopback", |This(value): This<Value>| ip(&value).map(|ip| ip.is_loopback()))?;
    context.add_function("isUnspecified", |This(value): This<Value>| ip(&value).map(|ip| ip.is_unspecified()))?;
    context.add_function("containsIP", |This(range): This<Value>, value: Value| -> Result<bool> {
        Ok(cidr(&range)?.contains(&ip(&value)?))
    })?;
    context.add_function("containsCIDR", |This(range): This<Value>, value: Value| -> Result<bool> {
        Ok(cidr(&range)?.contains(&cidr(&value)?))
    })?;
    context.add_function("prefixLength", |This(value): This<Value>| -> Result<i64> {
        Ok(cidr(&value)?.prefix_len().into())
    })
}

fn opaque(value: impl Opaque) -> Value {
    Value::Opaque(Arc::new(value))
}

fn ip(value: &Value) -> Result<IpAddr> {
    match value {
        Value::String(text) => parse_ip(text),
        Value::Opaque(opaque) => {
            opaque.downcast_ref::<Ip>().map(|ip| ip.0).ok_or_else(|| wrong("ip", "not an IP address"))
        }
        _ => Err(wrong("ip", "not an IP address")),
    }
}

fn cidr(value: &Value) -> Result<IpNet> {
    match value {
        Value::String(text) => parse_cidr(text),
        Value::Opaque(opaque) => {
            opaque.downcast_ref::<Cidr>().map(|cidr| cidr.0).ok_or_else(|| wrong("cidr", "not a CIDR"))
        }
        _ => Err(wrong("cidr", "not a CIDR")),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr> {
    match text.parse() {
        // Kubernetes refuses these too: they have two spellings.
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => {
            Err(wrong("ip", "an IPv4-mapped IPv6 address"))
        }
        Ok(address) => Ok(address),
        Err(_) => Err(wrong("ip", "not an IP address")),
    }
}

fn parse_cidr(text: &str) -> Result<IpNet> {
    match network_of(text) {
        // Kubernetes refuses these too.
        Some(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
            Err(wrong("cidr", "a range of IPv4-mapped IPv6 addresses"))
        }
        Some(network) => Ok(network),
        None => Err(wrong("cidr", "not a CIDR")),
    }
}

fn wrong(function: &str, why: &str) -> ExecutionError {
    ExecutionError::function_error(function, why)
}
