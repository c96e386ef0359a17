//! `countersign crd`: the CustomResourceDefinitions of this version.

use std::path::PathBuf;

use anyhow::Context;

use super::{Exit, print, reference};
use crate::api::schema::crds;

/// Print the CustomResourceDefinitions of this version.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  countersign crd | kubectl apply --server-side -f -
  countersign crd --output-dir crds")]
pub(super) struct Args {
    /// Write one file for each instead of printing.
    #[arg(long, value_name = "DIRECTORY")]
    output_dir: Option<PathBuf>,
    /// Print the reference of every field instead, as Markdown.
    #[arg(long, conflicts_with = "output_dir")]
    reference: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    if args.reference {
        print(&reference::render())?;
        return Ok(Exit::Clean);
    }
    for crd in crds() {
        let text = format!("---\n{}", serde_saphyr::to_string(&crd)?);
        match &args.output_dir {
            Some(directory) => {
                let name = crd["metadata"]["name"].as_str().unwrap_or_default();
                let path = directory.join(format!("{name}.yaml"));
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
            None => print(&text)?,
        }
    }
    Ok(Exit::Clean)
}
