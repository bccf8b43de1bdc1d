//! Completions and the manual: made by the real binary, and naming all that its own help names.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::process::{Command, Stdio};

/// The binary, with no variable of this process.
fn wirefan(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirefan"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs to the end: exit code, standard output, standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// The words of a text that begin with `--`, or look like one of the commands.
fn flags(help: &str) -> Vec<String> {
    let lines = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let words = lines.flat_map(|line| line.split([' ', ',']).filter(|word| word.starts_with("--")));
    words.map(|word| word.trim_end_matches('.').to_owned()).collect()
}

const COMMANDS: [&str; 8] = ["serve", "check", "publish", "subscribe", "token", "top", "completions", "man"];

#[test]
fn completions_name_every_command_and_every_flag() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, err) = run(&mut wirefan(&["completions", shell]));
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for command in COMMANDS {
            assert!(script.contains(command), "{shell}: {command}");
            let (_, help, _) = run(&mut wirefan(&[command, "--help"]));
            for flag in flags(&help) {
                let named = if shell == "fish" { format!("-l {}", &flag[2..]) } else { flag };
                assert!(script.contains(&named), "{shell}: {command} {named}");
            }
        }
    }
    let script = "source <(\"$0\" completions bash) && complete -p wirefan && bash -n <(\"$0\" completions bash)";
    let mut bash = Command::new("bash");
    let (code, out, err) = run(bash.args(["-c", script, env!("CARGO_BIN_EXE_wirefan")]));
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("-F _wirefan"), "{out}");
    let (code, _, err) = run(&mut wirefan(&["completions", "tcsh"]));
    assert_eq!(code, 2);
    assert!(err.contains("[possible values: bash, elvish, fish, powershell, zsh]"), "{err}");
}

#[test]
fn the_manual_has_a_page_for_each_command_with_every_flag() {
    let dir = std::env::temp_dir().join(format!("wirefan-man-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (code, out, err) = run(&mut wirefan(&["man", dir.to_str().unwrap()]));
    assert_eq!((code, out.as_str(), err.lines().count()), (0, "", COMMANDS.len() + 1), "{err}");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap().replace("\\-", "-");
    let whole = read("wirefan.1");
    assert!(whole.contains(".TH wirefan 1") && whole.contains("EXIT STATUS"), "{whole}");
    for command in COMMANDS {
        assert!(whole.contains(&format!("wirefan-{command}(1)")), "{command}: {whole}");
        let page = read(&format!("wirefan-{command}.1"));
        assert!(
            page.contains(&format!(".TH wirefan-{command} 1")) && page.contains(&format!("wirefan {command}")),
            "{page}"
        );
        let (_, help, _) = run(&mut wirefan(&[command, "--help"]));
        for flag in flags(&help) {
            assert!(page.contains(&flag), "{command} {flag}: {page}");
        }
    }
    let (code, printed, _) = run(&mut wirefan(&["man"]));
    assert_eq!((code, printed), (0, std::fs::read_to_string(dir.join("wirefan.1")).unwrap()));
    std::fs::remove_dir_all(&dir).unwrap();
    let (code, _, err) = run(&mut wirefan(&["man", dir.to_str().unwrap()]));
    assert_eq!(code, 1);
    assert!(err.contains("cannot write") && err.contains("No such file"), "{err}");
}
