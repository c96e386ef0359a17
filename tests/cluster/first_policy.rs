//! `docs/first-policy.md`, followed literally: each file is saved, each command run, and each output compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Cluster, LIMIT};
use testbed::eventually;

/// What a block of the page asks a reader to do.
enum Step<'a> {
    Save(&'a str, String),
    Run(String),
    /// What the commands before it print; `…` is any text.
    Compare(String),
}

#[test]
fn the_page_is_true_from_the_first_line_to_the_last() {
    let mut cluster = Cluster::start();
    cluster.run(&[]);
    let reader = Reader::new(&cluster);
    let page = std::fs::read_to_string("docs/first-policy.md").unwrap();
    let mut last = (String::new(), String::new());
    let mut compared = 0;
    for step in steps(&page) {
        match step {
            Step::Save(path, text) => {
                let path = reader.directory.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Step::Run(commands) => {
                let printed = reader.run(&commands).unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.log()));
                last = (commands, printed);
            }
            Step::Compare(expected) => {
                let (commands, printed) = &last;
                let mut printed = Ok(printed.clone());
                // What only reads may be asked again until the cluster has got there.
                if commands.starts_with("kubectl get ") || commands.starts_with("countersign review ") {
                    printed = eventually("it prints this", LIMIT, || {
                        let printed = reader.run(commands)?;
                        super::anyhow_if(matches(&expected, &printed), &printed).map(|()| printed)
                    });
                }
                let printed = printed.unwrap_or_else(|error| format!("{error:#}"));
                assert!(matches(&expected, &printed), "{commands}prints\n{printed}\nand the page says\n{expected}");
                compared += 1;
            }
        }
    }
    assert!(compared > 10, "{compared}");
}

/// The blocks of the page in order. A manifest is saved as the last path that the text before it names.
fn steps(page: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut path = "";
    let mut parts = page.split("```");
    while let (Some(text), Some(block)) = (parts.next(), parts.next()) {
        let is_manifest = |word: &&str| Path::new(word).extension().is_some_and(|extension| extension == "yaml");
        path = text.split('`').skip(1).step_by(2).filter(is_manifest).last().unwrap_or(path);
        let (language, body) = block.split_once('\n').unwrap();
        steps.push(match language {
            "yaml" => Step::Save(path, body.to_owned()),
            "sh" => Step::Run(body.to_owned()),
            "" => Step::Compare(body.to_owned()),
            other => panic!("no reader knows what to do with {other}"),
        });
    }
    steps
}

/// Whether `printed` is what is expected; `…` stands for any text.
fn matches(expected: &str, printed: &str) -> bool {
    let mut rest = printed.trim_end();
    let parts: Vec<&str> = expected.trim_end().split('…').collect();
    let (first, others) = parts.split_first().unwrap();
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    let Some((last, middle)) = others.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// Somebody with a shell, an empty directory and the programs that the page asks for.
struct Reader {
    directory: tempfile::TempDir,
    path: String,
    kubeconfig: PathBuf,
}

impl Reader {
    fn new(cluster: &Cluster) -> Self {
        let directory_of = |program: &Path| program.parent().unwrap().display().to_string();
        let countersign = directory_of(Path::new(env!("CARGO_BIN_EXE_countersign")));
        let kubectl = directory_of(cluster.admin.program());
        Self {
            directory: tempfile::tempdir().unwrap(),
            path: format!("{countersign}:{kubectl}:{}", std::env::var("PATH").unwrap()),
            kubeconfig: cluster.admin.kubeconfig().to_owned(),
        }
    }

    /// What the commands print; an error if one fails.
    fn run(&self, commands: &str) -> testbed::Result<String> {
        let output = Command::new("sh")
            .args(["-e", "-c", &format!("exec 2>&1\n{commands}")])
            .current_dir(self.directory.path())
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        super::anyhow_if(output.status.success(), &format!("{commands}ends with {}:\n{printed}", output.status))?;
        Ok(printed)
    }
}
