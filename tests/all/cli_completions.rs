//! `fer completions` and `fer man` as shells and `man` read them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Run, all_right, fer, run, skip};

/// A shell, the file name that it wants, how it parses a script without running it, and what its
/// script has to mention.
const SHELLS: [(&str, &str, &str, &[&str], &str); 5] = [
    ("bash", "fer.bash", "bash", &["-n"], "complete -F _fer"),
    ("zsh", "_fer", "zsh", &["-n"], "#compdef fer"),
    (
        "fish",
        "fer.fish",
        "fish",
        &["--no-execute"],
        "complete -c fer",
    ),
    (
        "powershell",
        "_fer.ps1",
        "pwsh",
        &[
            "-NoProfile",
            "-Command",
            // What follows -Command is one line: the file becomes the block's argument.
            "& { param($f) $e = $null; \
             [void][Management.Automation.Language.Parser]::ParseFile($f, [ref]$null, [ref]$e); \
             $e; exit $e.Count }",
        ],
        "Register-ArgumentCompleter",
    ),
    (
        "elvish",
        "fer.elv",
        "elvish",
        &["-compileonly"],
        "edit:completion",
    ),
];

/// True if the program can be started; else says that a part is skipped.
fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match command.arg("--version").status() {
        Ok(_) => true,
        Err(e) => skip::<()>(program, &format!("{program} can't be started: {e}")).is_some(),
    }
}

#[test]
fn each_shell_parses_its_script() {
    let folder = tempfile::tempdir().unwrap();
    let mut faults = Vec::new();
    for (shell, name, program, parse, mark) in SHELLS {
        let script = run(&["completions", shell]).expect(0).stdout;
        for wanted in [mark, "infer", "completions", "--provider", "--no-such"] {
            if script.contains(wanted) == (wanted == "--no-such") {
                faults.push(format!("{shell}: {wanted}"));
            }
        }
        let file = folder.path().join(name);
        fs::write(&file, script).unwrap();
        if is_there(program) {
            let parsed = Run::of(
                Command::new(program)
                    .args(parse)
                    .arg(&file)
                    .output()
                    .unwrap(),
            );
            if parsed.code != 0 || !parsed.stderr.is_empty() {
                faults.push(format!("{shell}: {parsed:?}"));
            }
        }
    }
    all_right(faults);
}

#[test]
fn bash_completes_commands_and_options() {
    if !is_there("bash") {
        return;
    }
    let script = run(&["completions", "bash"]).expect(0).stdout;
    let mut faults = Vec::new();
    for (words, wanted) in [
        ("fer inf", "infer"),
        ("fer comp", "completions"),
        ("fer infer --prov", "--provider --provider-option"),
        ("fer completions po", "powershell"),
        ("fer data ch", "check"),
    ] {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _fer fer \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             echo \"${{COMPREPLY[*]}}\"",
        );
        let answer = Run::of(Command::new("bash").args(["-c", &ask]).output().unwrap());
        if answer.stdout.trim() != wanted {
            faults.push(format!("{words}: {answer:?}"));
        }
    }
    all_right(faults);
}

#[test]
fn an_unknown_shell_is_refused() {
    let run = run(&["completions", "tcsh"]).expect(2);
    assert!(run.stdout.is_empty(), "{}", run.stdout);
    assert!(run.stderr.contains("powershell"), "{}", run.stderr);
}

/// The commands that `--help` lists, with theirs, as `data check`.
fn commands(of: &[&str]) -> Vec<String> {
    let help = run(&[of, &["--help"]].concat()).expect(0).stdout;
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let names = listed
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    names
        .flat_map(|name| {
            let path = [of, &[name]].concat();
            let mut all = commands(&path);
            all.push(path.join(" "));
            all
        })
        .collect()
}

/// A page without errors, as `mandoc` and `groff` see it.
fn assert_page(page: &Path, faults: &mut Vec<String>) {
    for (program, args) in [
        ("mandoc", ["-T", "lint", "-W", "error"].as_slice()),
        ("groff", &["-man", "-Tutf8", "-Kutf8", "-ww", "-z"]),
    ] {
        if is_there(program) {
            let read = Run::of(Command::new(program).args(args).arg(page).output().unwrap());
            if read.code != 0 || !read.stderr.is_empty() || !read.stdout.is_empty() {
                faults.push(format!("{program} {}: {read:?}", page.display()));
            }
        }
    }
}

#[test]
fn each_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("new/man");
    let made = fer()
        .args(["man", "--date", "2026-01-31"])
        .arg(&pages)
        .output();
    Run::of(made.unwrap()).expect(0);

    let mut wanted: Vec<String> = commands(&[])
        .into_iter()
        .map(|command| format!("fer-{}.1", command.replace(' ', "-")))
        .collect();
    wanted.push("fer.1".into());
    wanted.sort();
    assert!(wanted.contains(&"fer-data-check.1".into()), "{wanted:?}");
    let mut found: Vec<String> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, wanted);

    let mut faults = Vec::new();
    for name in found {
        let page = pages.join(&name);
        let text = fs::read_to_string(&page).unwrap();
        let title = name.trim_end_matches(".1");
        let head = format!(
            ".TH {title} 1 2026-01-31 \"fer {}\" \"User Commands\"",
            env!("CARGO_PKG_VERSION")
        );
        if !text.lines().any(|line| line.trim_end() == head) {
            faults.push(format!("{name} lacks {head}"));
        }
        assert_page(&page, &mut faults);
    }
    all_right(faults);
}

#[test]
fn man_pages_need_a_date_and_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("man").display().to_string();
    for date in ["", "today", "2026-1-31", "2026-01-31 "] {
        let run = run(&["man", &to, "--date", date]).expect(2);
        assert!(run.stderr.contains("2026-01-31"), "{}", run.stderr);
    }
    fs::write(&to, "a file").unwrap();
    let run = run(&["man", &to, "--date", "2026-01-31"]).expect(2);
    assert!(run.error().contains("can't make"), "{}", run.error());
    assert_eq!(fs::read_to_string(&to).unwrap(), "a file");
}
