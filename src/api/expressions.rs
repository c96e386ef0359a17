use super::{Deserialize, KubeSchema, Serialize};

/// One more thing that a request must fulfil to be matched, in CEL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchCondition {
    /// What it is called in messages; each name once in the list.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("a name is letters, digits, '-', '_' and '.', with a letter or digit at both ends; write, for example, not-ci"))]
    pub name: String,
    /// True where the object speaks about the request. It sees `csr`, `requestor` and `node`.
    #[schemars(length(min = 1, max = 2048))]
    pub expression: String,
}

/// One more thing that a request must satisfy, in CEL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// What it is called in messages; each name once in the list.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("a name is letters, digits, '-', '_' and '.', with a letter or digit at both ends; write, for example, short-name"))]
    pub name: String,
    /// True where the request satisfies it. It sees `csr`, `requestor` and `node`.
    #[schemars(length(min = 1, max = 2048))]
    pub expression: String,
    /// What a requestor reads whose request does not satisfy it. Unstated: the expression.
    #[schemars(length(min = 1, max = 512))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
