//! `countersign completions`: for the shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit, print};

/// Print a script that completes commands and options in a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(countersign completions bash)
  countersign completions zsh > \"${fpath[1]}/_countersign\"
  countersign completions fish > ~/.config/fish/completions/countersign.fish")]
pub(super) struct Args {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// What the generated script leaves out: files where an option was not begun, and values behind `=`, which is a word
/// of its own to bash.
const BASH: &str = r#"
_countersign_or_files() {
    local command="$1" word="$2" before="$3"
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before="${COMP_WORDS[COMP_CWORD - 2]}"
    fi
    _countersign "$command" "$word" "$before"
    if [[ $word != -* ]]; then
        local replies=("${COMPREPLY[@]}") reply
        COMPREPLY=()
        for reply in "${replies[@]}"; do
            if [[ $reply != -* ]]; then COMPREPLY+=("$reply"); fi
        done
    fi
}

complete -F _countersign_or_files -o bashdefault -o default countersign
"#;

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "countersign", &mut script);
    if args.shell == Shell::Bash {
        script.extend_from_slice(BASH.as_bytes());
    }
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Clean)
}
