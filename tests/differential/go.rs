//! What Go makes of a request, asked of a process of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use ::base64::Engine;
use ::base64::engine::general_purpose::STANDARD;

use crate::cluster::base64;

/// A running `goreads` (see `tests/testbed/go/goreads`).
pub struct Go {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    line: String,
}

/// What a request says besides its PEM bytes.
#[derive(Debug, Clone, Default)]
pub struct Context {
    pub usages: Vec<String>,
    pub signer: String,
    pub expiration_seconds: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct Reading {
    pub refused: String,
    pub unread: String,
    pub sha256: String,
    pub headers: usize,
    #[serde(deserialize_with = "bytes")]
    pub rest: Vec<u8>,
    pub subject: Subject,
    pub sans: Sans,
    pub key: Key,
    pub raw: Option<Raw>,
    pub issued: Option<Certificate>,
    pub unissued: String,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    pub common_name: String,
    #[serde(deserialize_with = "list")]
    pub organizations: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub organizational_units: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub others: BTreeMap<String, String>,
    #[serde(deserialize_with = "list")]
    pub names: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub unread: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Sans {
    #[serde(deserialize_with = "list")]
    pub dns_names: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub ip_addresses: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub uris: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub email_addresses: Vec<String>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Key {
    pub algorithm: String,
    pub bits: u32,
    pub exponent: i64,
    pub sha256: String,
}

/// Every element of the request, whether or not Go gives it a meaning.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Raw {
    #[serde(deserialize_with = "list")]
    pub attributes: Vec<RawAttribute>,
    #[serde(deserialize_with = "list")]
    pub names: Vec<RawValue>,
    #[serde(deserialize_with = "list")]
    pub extensions: Vec<RawValue>,
    #[serde(deserialize_with = "list")]
    pub general_names: Vec<RawValue>,
}

#[derive(Debug, Deserialize)]
pub struct RawAttribute {
    #[serde(rename = "type")]
    pub kind: String,
    pub values: usize,
}

#[derive(Debug, Deserialize)]
pub struct RawValue {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub tag: u8,
    #[serde(deserialize_with = "bytes")]
    pub value: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    pub subject: Subject,
    pub sans: Sans,
    pub key: Key,
    pub key_usage: u32,
    #[serde(deserialize_with = "list")]
    pub ext_key_usages: Vec<u32>,
    #[serde(deserialize_with = "list")]
    pub unknown_ext_key_usages: Vec<String>,
    pub authority: bool,
    #[serde(deserialize_with = "list")]
    pub extensions: Vec<String>,
    pub seconds: i64,
    /// In seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub user: Option<User>,
}

/// Who the API server takes the holder of a certificate for.
#[derive(Debug, Deserialize)]
pub struct User {
    pub name: String,
    pub uid: String,
    #[serde(deserialize_with = "list")]
    pub groups: Vec<String>,
}

/// Go writes an empty list as `null`.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    unbase64(&text).map_err(serde::de::Error::custom)
}

fn unbase64(text: &str) -> Result<Vec<u8>, ::base64::DecodeError> {
    STANDARD.decode(text)
}

impl Go {
    pub fn start() -> Self {
        let mut command = Command::new(testbed::goreads().unwrap());
        // One thread, and memory rather than time for its garbage.
        command.arg(super::keys::directory()).envs([("GOMAXPROCS", "1"), ("GOGC", "800")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, questions, answers, line: String::new() }
    }

    fn ask<T: DeserializeOwned>(&mut self, question: &Value) -> T {
        let mut line = question.to_string();
        line.push('\n');
        self.questions.write_all(line.as_bytes()).unwrap();
        self.line.clear();
        self.answers.read_line(&mut self.line).unwrap();
        serde_json::from_str(&self.line).unwrap_or_else(|error| panic!("{error}: {}", self.line))
    }

    /// Reads a request; with `issue`, signs it too.
    pub fn read(&mut self, pem: &[u8], context: &Context, issue: bool) -> Reading {
        self.ask(&json!({ "read": {
            "pem": base64(pem),
            "usages": context.usages,
            "signerName": context.signer,
            "expirationSeconds": context.expiration_seconds,
            "issue": issue,
        }}))
    }

    /// Reads a certificate, in PEM.
    pub fn certificate(&mut self, pem: &str) -> Certificate {
        let answer: Value = self.ask(&json!({ "certificate": base64(pem.as_bytes()) }));
        assert_eq!(answer["error"], "", "{pem}");
        serde_json::from_value(answer["certificate"].clone()).unwrap()
    }

    /// Signs with a key of [`super::keys::directory`]; a `salt` asks for PSS.
    pub fn sign(&mut self, key: &str, hash: &str, salt: Option<usize>, message: &[u8]) -> Vec<u8> {
        let asked = json!({ "sign": { "key": key, "hash": hash, "salt": salt, "message": base64(message) }});
        let answer: Value = self.ask(&asked);
        // A key too short for hash and salt: no signature is as wrong as any.
        unbase64(answer["signature"].as_str().unwrap_or_default()).unwrap()
    }

    /// The keys of [`super::keys::directory`], each with its SubjectPublicKeyInfo.
    pub fn keys(&mut self) -> BTreeMap<String, Vec<u8>> {
        let answer: BTreeMap<String, String> = self.ask(&json!({ "keys": true }));
        answer.into_iter().map(|(name, info)| (name, unbase64(&info).unwrap())).collect()
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
