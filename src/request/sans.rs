//! Subject alternative names (RFC 5280 section 4.2.1.6), each in the one form that all readers read alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::der::{self, Element};
use super::error::malformed_extension as malformed;
use super::{DecodeCode, DecodeError, Sans};

/// The most SANs of a request.
pub const MAX_SANS: usize = 100;
/// The longest DNS name, in characters (RFC 1035 section 2.3.4, without the trailing dot).
const MAX_DNS: usize = 253;
/// The longest URI, in bytes, as SPIFFE has it (SPIFFE-ID section 2.3).
const MAX_URI: usize = 2048;

pub(super) fn decode(names: Element<'_>) -> Result<Sans, DecodeError> {
    if names.tag != der::SEQUENCE || names.content.is_empty() {
        return Err(malformed("subjectAltName"));
    }
    let mut sans = Sans::default();
    let mut reader = names.inside();
    let mut count = 0;
    while !reader.is_empty() {
        let name = reader.next()?;
        count += 1;
        if count > MAX_SANS {
            return Err(DecodeError::new(
                DecodeCode::SansTooMany,
                "subjectAltName",
                "",
                format!("the request has more than {MAX_SANS} subject alternative names: ask for fewer"),
            ));
        }
        match name.tag {
            0x81 => sans.email_addresses.push(email(name.content)?),
            0x82 => sans.dns_names.push(dns(name.content)?),
            0x86 => sans.uris.push(uri(name.content)?),
            0x87 => sans.ip_addresses.push(ip(name.content)?),
            tag => {
                let kind = match tag {
                    0xa0 => "an otherName",
                    0xa4 => "a directoryName",
                    0x88 => "a registeredID",
                    _ => "of an unknown kind",
                };
                return Err(DecodeError::new(
                    DecodeCode::SanTypeUnsupported,
                    "subjectAltName",
                    kind,
                    format!(
                        "a subject alternative name is {kind}, and only DNS names, IP addresses, URIs and email addresses \
                         are supported: leave it out"
                    ),
                ));
            }
        }
    }
    Ok(sans)
}

fn dns(content: &[u8]) -> Result<String, DecodeError> {
    let name = String::from_utf8_lossy(content);
    if is_dns_name(content) {
        return Ok(name.into_owned());
    }
    Err(DecodeError::quoting(
        DecodeCode::SanDnsMalformed,
        "dnsNames",
        &name,
        "is not a DNS name (letters, digits, - and _ between single dots; no dot at the end, no address): correct it",
    ))
}

/// Whether `name` is a DNS name in its one form. A `*` may stand anywhere: policies decide about it.
pub(crate) fn is_dns_name(name: &[u8]) -> bool {
    let label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
    };
    // Text that some resolver reads as an address ends in a number (RFC 3696, WHATWG URL "ends in a number").
    let numeric = |label: &[u8]| {
        label.iter().all(u8::is_ascii_digit)
            || label.len() > 1
                && label[0] == b'0'
                && label[1].eq_ignore_ascii_case(&b'x')
                && label[2..].iter().all(u8::is_ascii_hexdigit)
    };
    name.len() <= MAX_DNS
        && name.split(|byte| *byte == b'.').all(label)
        && !name.rsplit(|byte| *byte == b'.').next().is_some_and(numeric)
}

fn ip(content: &[u8]) -> Result<IpAddr, DecodeError> {
    let address = match content.len() {
        4 => <[u8; 4]>::try_from(content).ok().map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes))),
        16 => <[u8; 16]>::try_from(content)
            .ok()
            .map(Ipv6Addr::from)
            .filter(|address| address.to_ipv4_mapped().is_none())
            .map(IpAddr::V6),
        _ => None,
    };
    address.ok_or_else(|| {
        DecodeError::new(
            DecodeCode::SanIpMalformed,
            "ipAddresses",
            &format!("{} bytes", content.len()),
            "an IP address does not have 4 or 16 bytes, or is an IPv4 address written as IPv6 (::ffff:0:0/96): write it \
             plainly",
        )
    })
}

fn uri(content: &[u8]) -> Result<String, DecodeError> {
    let text = String::from_utf8_lossy(content);
    if text.len() <= MAX_URI && is_uri(&text) {
        return Ok(text.into_owned());
    }
    Err(DecodeError::quoting(
        DecodeCode::SanUriMalformed,
        "uris",
        &text,
        "is not a URI that all readers read alike (scheme:, a plain host, no user, no port that the scheme has anyway, no %, no \
         . or .. segments, 2048 bytes at most): correct it",
    ))
}

/// Schemes whose URIs have a host, which some readers find without `//` as well, and the port that they have anyway
/// (WHATWG URL, "special scheme").
const WITH_HOST: [(&str, &str); 5] =
    [("ftp", ":21"), ("http", ":80"), ("https", ":443"), ("ws", ":80"), ("wss", ":443")];

/// RFC 3986, less what readers normalise differently: escapes, user information, dot segments, a port that goes without
/// saying (section 6.2.3).
pub(crate) fn is_uri(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#@!$&'()*+,;=[]".contains(c);
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !scheme_fits
        || rest.is_empty()
        || !text.chars().all(plain)
        || text.ends_with('#')
        || text.matches('#').count() > 1
    {
        return false;
    }
    let is_file = scheme.eq_ignore_ascii_case("file");
    let port = WITH_HOST.iter().find(|(known, _)| scheme.eq_ignore_ascii_case(known)).map(|(_, port)| *port);
    let (path, authority_fits) = match rest.strip_prefix("//") {
        Some(rest) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            // Go writes `http://` back as `http:`.
            let fits = if end == 0 || is_file {
                end == 0 && rest.starts_with('/') && port.is_none()
            } else {
                // Some readers put a / where there is no path.
                is_authority(&rest[..end], port) && (port.is_none() || !rest[end..].starts_with(['?', '#']))
            };
            (&rest[end..], fits)
        }
        None => {
            let fits = !rest.contains(['[', ']', '@']) || scheme.eq_ignore_ascii_case("mailto");
            (rest, fits && port.is_none() && !is_file)
        }
    };
    let end = path.find(['?', '#']).unwrap_or(path.len());
    authority_fits
        && path[..end].split('/').all(|segment| segment != "." && segment != "..")
        && !path.contains(['[', ']'])
}

/// A host with or without a port that is not `usual`, never a user. Empty is `file:///path`.
fn is_authority(authority: &str, usual: Option<&str>) -> bool {
    // Its one spelling (RFC 5952), and not that of an IPv4 address.
    let is_address = |text: &str| {
        let address = text.parse::<Ipv6Addr>().ok().filter(|address| address.to_ipv4_mapped().is_none());
        address.is_some_and(|address| address.to_string().eq_ignore_ascii_case(text))
    };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if is_address(address) => ("", port),
            _ => return false,
        },
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let port_fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port));
    let host_fits = host.is_empty() && port.is_empty()
        || authority.starts_with('[')
        || host.parse::<Ipv4Addr>().is_ok()
        || is_dns_name(host.as_bytes()) && !host.contains('*');
    host_fits && port_fits && Some(port) != usual
}

fn email(content: &[u8]) -> Result<String, DecodeError> {
    let text = String::from_utf8_lossy(content);
    let local = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let fits = text.split_once('@').is_some_and(|(name, domain)| {
        (1..=64).contains(&name.len())
            && name.chars().all(local)
            && name.split('.').all(|part| !part.is_empty())
            && is_dns_name(domain.as_bytes())
            && !domain.contains('*')
    });
    if fits {
        return Ok(text.into_owned());
    }
    Err(DecodeError::quoting(
        DecodeCode::SanEmailMalformed,
        "emailAddresses",
        &text,
        "is not an email address name@domain in plain ASCII: correct it",
    ))
}

#[cfg(test)]
mod tests {
    use super::{MAX_URI, dns, email, ip, uri};

    #[test]
    fn takes_names_that_clients_ask_for() {
        for name in [
            "a",
            "vpn.example.com",
            "*.example.com",
            "_acme.example.com",
            "xn--bcher-kva.example",
            "x1.2a",
            "1x1",
            "0xg",
            "0y1",
            "x0x1",
            &"a".repeat(63),
            &long_name("a"),
        ] {
            assert_eq!(dns(name.as_bytes()).unwrap(), name);
        }
        for text in [
            "spiffe://example.com/ns/default/sa/web",
            "https://example.com:8443/a?b=c#d",
            "urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8",
            "https://[2001:db8::1]/x",
            "file:///etc/x",
            "http://[::1]:8080/x",
            "http://[2001:DB8::1]/x",
            "http://h:443/",
            "https://h:80",
            "spiffe://h:443/x",
            "urn:x:/y",
            "http://10.0.0.1/x",
            "http://h:0/",
            "http://h:65535/",
            "https://h/?a=/../b",
            "https://h/#/../b",
            "spiffe://h?a",
            "https://h/..a/.b/c.",
            "a+b-c.d:e",
            "mailto:amy@example.com",
            "MAILTO:amy@example.com",
            "urn:a#b",
        ] {
            assert_eq!(uri(text.as_bytes()).unwrap(), text);
        }
        assert_eq!(email(b"a.b+c@example.com").unwrap(), "a.b+c@example.com");
        let longest = format!("{}@b.c", "a".repeat(64));
        assert_eq!(email(longest.as_bytes()).unwrap(), longest);
        assert_eq!(ip(&[10, 0, 0, 1]).unwrap().to_string(), "10.0.0.1");
        let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(ip(&address).unwrap().to_string(), "2001:db8::1");
    }

    /// A DNS name of 253 bytes that ends so.
    fn long_name(end: &str) -> String {
        format!("{}{}{end}", format!("{}.", "a".repeat(63)).repeat(3), "a".repeat(61 - end.len()))
    }

    #[test]
    fn refuses_names_that_can_be_read_in_two_ways() {
        let (long, longer) = ("a".repeat(64), format!("b{}", long_name("a")));
        for name in [
            "", ".", "a.", ".a", "a..b", "a b", "a/b", "a\0b", "10.0.0.1", "1", "a.1", "0x7f", "0X7F", "a.0x",
            "z\u{eb}", &long, &longer,
        ] {
            assert!(dns(name.as_bytes()).is_err(), "{name:?}");
        }
        for text in [
            "",
            "a",
            "//a/b",
            "1a://b",
            "http://",
            "http://?a",
            "http://u@h/",
            "http://h/%2e",
            "http://h/a/../b",
            "http://h/./b",
            "http://h#",
            "http://h:0080/",
            "http://h:99999/",
            "http://h\\x",
            "http://a..b/",
            "http://h:",
            "http://[::1",
            "spiffe://h/a b",
            "http://h/#a#b",
            "http://h/[",
            "http://h/?]",
            "http://h/..",
            "http://h/.",
            "http://[::g]/",
            "http://[::1]x/",
            "http://[a]/",
            "http://*.b/",
            "http://:80/",
            "http://h:x/",
            "a_b:c",
            "+a:b",
            "a:[b",
            "a:b]",
            "a:b@c",
            "a:b/../c",
            "http://[2001:db8:0::1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[::ffff:a00:1]/",
            "http://h:80/",
            "HTTPS://h:443",
            "wss://[::1]:443/",
            "https:/h/x",
            "https:h",
            "https:///h/x",
            "https://h?x",
            "http://h:8080#x",
            "file:/x",
            "file:x",
            "FILE://localhost/x",
            "file://",
            "urn:a#",
        ] {
            assert!(uri(text.as_bytes()).is_err(), "{text:?}");
        }
        let of_length = |length: usize| format!("spiffe://h/{}", "a".repeat(length - 11));
        assert!(uri(of_length(MAX_URI).as_bytes()).is_ok() && uri(of_length(MAX_URI + 1).as_bytes()).is_err());
        let local = format!("{}@b.c", "a".repeat(65));
        for text in ["", "a", "@b.c", "a@", "a@b@c", "a b@c.d", "\"a\"@c.d", "a@10.0.0.1", "a..b@c.d", "a@*.b", &local]
        {
            assert!(email(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(ip(&[0; 5]).is_err());
        assert!(ip(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]).is_err());
    }
}
