//! Parses pip's output: its version, its report, and its error messages.

use fer_core::host::is_version;

use super::error::PipFailure;

/// A package that pip would install, with the SHA-256 of its wheel from the package index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    pub name: String,
    pub version: String,
    pub sha256: String,
}

/// `pip 23.2.1 from …` to `(23, 2)`.
pub(super) fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut parts = text
        .strip_prefix("pip ")?
        .split_whitespace()
        .next()?
        .split('.');
    let major = parts.next()?.parse().ok()?;
    // The second part may have a letter (`24.1b1`) or be missing. It only matters for old versions.
    let minor = parts
        .next()
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0);
    Some((major, minor))
}

pub(super) fn parse_report(text: &[u8]) -> Result<Vec<Listed>, String> {
    let report: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let items = report["install"]
        .as_array()
        .ok_or("its report lists no packages")?;
    let listed = |item: &serde_json::Value| {
        let field = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let name = field(&item["metadata"]["name"]).ok_or("its report names no package")?;
        let version = field(&item["metadata"]["version"]).ok_or("its report gives no version")?;
        let is_plain = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte))
        };
        if !is_plain(&name) || !is_plain(&version) {
            return Err(format!(
                "its report has an odd name or version: {name:?} {version:?}"
            ));
        }
        let archive = &item["download_info"]["archive_info"];
        // pip 22.2 gives `hash` alone, newer ones give `hashes` too.
        let sha256 = field(&archive["hashes"]["sha256"])
            .or_else(|| {
                archive["hash"]
                    .as_str()?
                    .strip_prefix("sha256=")
                    .map(str::to_owned)
            })
            .filter(|hash| hash.len() == 64)
            .ok_or_else(|| format!("the package index gives no SHA-256 for {name}"))?;
        Ok(Listed {
            name,
            version,
            sha256: sha256.to_ascii_lowercase(),
        })
    };
    items.iter().map(listed).collect()
}

/// The most informative line of pip's messages: its last error, or the end of a traceback, with the
/// cause of a broken connection if there is one.
pub(super) fn last_word(errors: &str) -> String {
    let lines = || {
        errors
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = if errors.contains("Traceback (most recent call last)") {
        lines().next_back()
    } else {
        lines()
            .rev()
            .find(|line| line.starts_with("ERROR:"))
            .or_else(|| lines().next_back())
    };
    let line = line.map_or("no message", |line| {
        line.strip_prefix("ERROR:").unwrap_or(line).trim()
    });
    let broken = errors
        .split_once("connection broken by '")
        .and_then(|(_, rest)| rest.split_once("': /"));
    let line = match broken {
        // Without the `SomeError('<object at 0x…>: ` before the text itself.
        Some((cause, _)) => {
            let text = cause.rsplit_once(">: ").map_or(cause, |(_, text)| text);
            format!("{line} ({})", text.trim_end_matches(['\'', '"', ')']))
        }
        None => line.to_owned(),
    };
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

/// The cause, as far as pip's messages show it.
pub(super) fn failure_of(errors: &str) -> PipFailure {
    let any = |parts: &[&str]| parts.iter().any(|part| errors.contains(part));
    let versions = errors
        .lines()
        .rev()
        .find_map(|line| line.split_once("(from versions: ")?.1.strip_suffix(')'));
    if any(&["No space left", "[Errno 28]", "Disk quota exceeded"]) {
        return PipFailure::NoSpace;
    }
    if any(&[
        "Retrying (",
        "HTTPSConnectionPool",
        "ConnectionError",
        "ProxyError",
        "SSLError",
    ]) || versions == Some("none")
    {
        return PipFailure::Network;
    }
    match versions.and_then(|list| list.rsplit(", ").find(|version| is_version(version))) {
        Some(newest) => PipFailure::NoSuchVersion {
            newest: newest.to_owned(),
        },
        None => PipFailure::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_pip_become_a_line_and_a_failure() {
        let rows = [
            (
                "ERROR: Could not find a version that satisfies the requirement onnxruntime==9.9 \
                 (from versions: 1.31.1, 1.32.0, 1.33.0.dev1)\nERROR: No matching distribution \
                 found for onnxruntime==9.9\n",
                "No matching distribution found for onnxruntime==9.9",
                PipFailure::NoSuchVersion {
                    newest: "1.32.0".to_owned(),
                },
            ),
            (
                "WARNING: Retrying (Retry(total=0)) after connection broken by \
                 'NewConnectionError('<x object at 0x7f>: Failed to establish a new connection: \
                 [Errno 111] Connection refused')': /simple/a/\nERROR: Could not find a version \
                 that satisfies the requirement a==1 (from versions: none)\nERROR: No matching \
                 distribution found",
                "No matching distribution found (Failed to establish a new connection: [Errno 111] \
                 Connection refused)",
                PipFailure::Network,
            ),
            (
                "ERROR: Exception:\nTraceback (most recent call last):\n  File \"x\"\nOSError: \
                 [Errno 28] No space left on device: 'a' -> 'b'\n",
                "OSError: [Errno 28] No space left on device: 'a' -> 'b'",
                PipFailure::NoSpace,
            ),
            (
                "/usr/bin/python3: No module named pip\n",
                "/usr/bin/python3: No module named pip",
                PipFailure::Unknown,
            ),
            (
                "ERROR: \u{1b}[31mred\u{7}\n",
                "[31mred",
                PipFailure::Unknown,
            ),
            ("", "no message", PipFailure::Unknown),
        ];
        let mut wrong = Vec::new();
        for (errors, line, failure) in rows {
            let got = (last_word(errors), failure_of(errors));
            if got.0 != line || got.1 != failure {
                wrong.push((errors, got));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn versions_of_pip() {
        let rows = [
            ("pip 23.2.1 from /x (python 3.11)", Some((23, 2))),
            ("pip 24.1b1 from /x", Some((24, 0))),
            ("pip 26", Some((26, 0))),
            ("Python was not found", None),
            ("pip x", None),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(text, version)| version_of(text) != *version)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn reports_of_old_and_new_pip() {
        let hash = "ab".repeat(32);
        let report = |name: &str, archive: &str| {
            let item = format!(
                r#"{{"metadata":{{"name":"{name}","version":"1.2"}},"download_info":{archive}}}"#
            );
            parse_report(format!(r#"{{"install":[{item}]}}"#).as_bytes())
        };
        let expected = Ok(vec![Listed {
            name: "a".to_owned(),
            version: "1.2".to_owned(),
            sha256: hash.clone(),
        }]);
        assert_eq!(
            report(
                "a",
                &format!(r#"{{"archive_info":{{"hashes":{{"sha256":"{hash}"}}}}}}"#)
            ),
            expected
        );
        assert_eq!(
            report(
                "a",
                &format!(r#"{{"archive_info":{{"hash":"sha256={hash}"}}}}"#)
            ),
            expected
        );
        assert!(
            report("a", "{}")
                .unwrap_err()
                .contains("gives no SHA-256 for a")
        );
        assert!(report("--evil", "{}").unwrap_err().contains("odd name"));
        assert!(parse_report(b"{}").is_err() && parse_report(b"nonsense").is_err());
    }
}
