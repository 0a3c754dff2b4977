//! Finds the ONNX Runtime library: a fixed order of places, where the first hit wins.
//!
//! 1. `--ort-lib`, and 2. `ORT_DYLIB_PATH`: when given, the only place; a wrong path there is an
//!    error.
//! 3. fer's data folder, where `fer runtime install` puts it; 4. beside the program; 5. Python's
//!    `onnxruntime` package; 6. the system's library folders.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::search::{Finding, Found, NotFound, Origin, Search, Step};
use super::store::Store;
use super::{library_in, python};
use fer_core::host::{Host, Os};

/// Finds the library and stops at the first hit. Python is started only if no place before it has
/// the library.
///
/// `explicit` is the value of `--ort-lib`: the library, or the folder that holds it.
pub fn locate(explicit: Option<&Path>, host: &Host) -> Result<Found, NotFound> {
    walk(explicit, host, false).result()
}

/// Looks at every place, even after the first hit. [`Search::used`] is the one that [`locate`]
/// would return.
pub fn search_all(explicit: Option<&Path>, host: &Host) -> Search {
    walk(explicit, host, true)
}

fn walk(explicit: Option<&Path>, host: &Host, to_the_end: bool) -> Search {
    let mut search = Search::default();
    for origin in Origin::ORDER {
        let given = match origin {
            Origin::Option => explicit,
            Origin::Environment => host.var("ORT_DYLIB_PATH").map(Path::new),
            _ => None,
        };
        let (looked_at, outcome) = match origin {
            Origin::Option | Origin::Environment => named(given, host.os),
            Origin::DataFolder => data_folder(host),
            Origin::BesideExecutable => beside_executable(host),
            Origin::Python => python_package(host),
            Origin::System => folders(system_folders(host), host.os),
        };
        let outcome = outcome.map_or_else(Finding::Missing, Finding::Found);
        if search.decided_by.is_none() && (given.is_some() || matches!(outcome, Finding::Found(_)))
        {
            search.decided_by = Some(search.steps.len());
        }
        search.steps.push(Step {
            origin,
            looked_at,
            outcome,
        });
        if search.decided_by.is_some() && !to_the_end {
            break;
        }
    }
    search
}

/// The places that were searched, and the library or the reason why it is missing.
type Looked = (Vec<PathBuf>, Result<PathBuf, String>);

fn named(path: Option<&Path>, os: Os) -> Looked {
    let Some(path) = path else {
        return (Vec::new(), Err("not given".to_owned()));
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let library = match path.metadata() {
        Ok(meta) if meta.is_dir() => library_in(&path, os)
            .ok_or_else(|| format!("it is a folder without {}", os.library_file_name())),
        Ok(meta) if meta.len() == 0 => Err("it is an empty file".to_owned()),
        Ok(_) => Ok(path.clone()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("it does not exist".to_owned())
        }
        Err(error) => Err(format!("it cannot be opened ({error})")),
    };
    (vec![path], library)
}

fn data_folder(host: &Host) -> Looked {
    match Store::of(host) {
        Some(store) => {
            let library = store.active_library();
            (vec![store.root], library)
        }
        None => (
            Vec::new(),
            Err("no data folder is known; set FER_DATA_DIR".to_owned()),
        ),
    }
}

fn beside_executable(host: &Host) -> Looked {
    match host.executable.as_deref().and_then(Path::parent) {
        Some(folder) => folders(vec![folder.to_owned(), folder.join("lib")], host.os),
        None => (
            Vec::new(),
            Err("the program's own path is not known".to_owned()),
        ),
    }
}

fn python_package(host: &Host) -> Looked {
    let interpreters = match python::interpreters(host) {
        Ok(interpreters) => interpreters,
        Err(none) => return (Vec::new(), Err(none.to_string())),
    };
    let started = Instant::now();
    let mut looked_at = Vec::new();
    let mut trouble = String::new();
    for interpreter in interpreters {
        let limit = host.python_time_limit.saturating_sub(started.elapsed());
        if limit == Duration::ZERO {
            break;
        }
        looked_at.push(interpreter.clone());
        match python::onnxruntime_package(&interpreter, host, limit) {
            // The first interpreter that responds is the machine's Python. Others are not asked.
            Ok(Some(package)) => {
                let (folders, library) = folders(vec![package.join("capi")], host.os);
                looked_at.extend(folders);
                return (looked_at, library);
            }
            Ok(None) => return (looked_at, Err("it has no package onnxruntime".to_owned())),
            Err(reason) => trouble = reason,
        }
    }
    (looked_at, Err(trouble))
}

fn system_folders(host: &Host) -> Vec<PathBuf> {
    let variables: &[&str] = match host.os {
        Os::Linux => &["LD_LIBRARY_PATH"],
        Os::MacOs => &["DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"],
        Os::Windows => &["PATH"],
    };
    let mut all: Vec<PathBuf> = variables
        .iter()
        .flat_map(|name| host.folders_in(name))
        .collect();
    // Windows has an old ONNX Runtime in its system folder, which is not for programs like this.
    if let (Os::Windows, Some(windows)) = (
        host.os,
        host.var("SystemRoot").and_then(|root| root.to_str()),
    ) {
        let windows = windows.to_lowercase();
        all.retain(|folder| {
            !folder
                .to_string_lossy()
                .to_lowercase()
                .starts_with(&windows)
        });
    }
    all.extend(host.system_folders.iter().cloned());
    let mut unique: Vec<PathBuf> = Vec::new();
    for folder in all {
        if !unique.contains(&folder) {
            unique.push(folder);
        }
    }
    unique
}

fn folders(folders: Vec<PathBuf>, os: Os) -> Looked {
    let library = folders.iter().find_map(|folder| library_in(folder, os));
    (
        folders,
        library.ok_or_else(|| format!("no {} there", os.library_file_name())),
    )
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::runtime::testing::{host_with, put};

    const LIBRARY: &str = "libonnxruntime.so.1.2.3";

    /// A host with the library in every place. Python is a script that leaves a mark when it is
    /// started.
    fn full_machine(root: &Path) -> Host {
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        put(&root.join("env").join(LIBRARY), b"x");
        put(&root.join("data/onnxruntime/cpu-1.2.3").join(LIBRARY), b"x");
        put(&root.join("data/onnxruntime/active"), b"cpu-1.2.3\n");
        put(&root.join("exe/lib").join(LIBRARY), b"x");
        put(&root.join("site/onnxruntime/capi").join(LIBRARY), b"x");
        put(&root.join("system").join(LIBRARY), b"x");
        put(&root.join("path/empty"), b"x");
        let body = format!(
            "echo x >> {}; printf '\\nfer:%s\\n' {}",
            at("started"),
            at("site/onnxruntime")
        );
        crate::runtime::testing::script(&root.join("path"), "python3", &body);
        Host {
            executable: Some(root.join("exe/fer")),
            system_folders: vec![root.join("absent"), root.join("system")],
            ..host_with(&[
                ("ORT_DYLIB_PATH", &at("env")),
                ("FER_DATA_DIR", &at("data")),
                ("PATH", &at("path")),
            ])
        }
    }

    #[test]
    fn order_of_the_places() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let mut host = full_machine(root);
        let option = put(&root.join("option/any-name.so"), b"x");
        let remove = |name: &str| std::fs::remove_file(root.join(name).join(LIBRARY)).unwrap();

        let found = locate(Some(&option), &host).unwrap();
        assert_eq!(
            found,
            Found {
                path: option.clone(),
                origin: Origin::Option
            }
        );
        let found = locate(None, &host).unwrap();
        assert_eq!(
            found,
            Found {
                path: root.join("env").join(LIBRARY),
                origin: Origin::Environment
            }
        );
        host.vars.remove(std::ffi::OsStr::new("ORT_DYLIB_PATH"));
        let found = locate(None, &host).unwrap();
        assert_eq!(found.origin, Origin::DataFolder);
        assert_eq!(
            found.path,
            root.join("data/onnxruntime/cpu-1.2.3").join(LIBRARY)
        );
        remove("data/onnxruntime/cpu-1.2.3");
        let found = locate(None, &host).unwrap();
        assert_eq!(
            found,
            Found {
                path: root.join("exe/lib").join(LIBRARY),
                origin: Origin::BesideExecutable
            }
        );

        assert!(
            !root.join("started").exists(),
            "Python is not started while an earlier place has the library"
        );
        remove("exe/lib");
        let found = locate(None, &host).unwrap();
        let path = root.join("site/onnxruntime/capi").join(LIBRARY);
        assert_eq!(
            found,
            Found {
                path,
                origin: Origin::Python
            }
        );
        assert!(root.join("started").exists());

        remove("site/onnxruntime/capi");
        let found = locate(None, &host).unwrap();
        assert_eq!(
            found,
            Found {
                path: root.join("system").join(LIBRARY),
                origin: Origin::System
            }
        );
        host.vars
            .insert("LD_LIBRARY_PATH".into(), root.join("env").into());
        assert_eq!(
            locate(None, &host).unwrap().path,
            root.join("env").join(LIBRARY)
        );

        host.vars.remove(std::ffi::OsStr::new("LD_LIBRARY_PATH"));
        remove("system");
        let error = locate(None, &host).unwrap_err();
        assert_eq!(error.search().steps.len(), 6);
        assert_eq!(
            error.to_string(),
            "ONNX Runtime was not found (looked in fer's data folder, the program's folder, \
             Python's onnxruntime package, the system's library folders)"
        );
    }

    #[test]
    fn search_all_goes_on_past_the_hit() {
        let folder = tempfile::tempdir().unwrap();
        let host = full_machine(folder.path());
        let search = search_all(None, &host);
        let origins: Vec<_> = search.steps.iter().map(|step| step.origin).collect();
        assert_eq!(origins, Origin::ORDER);
        assert_eq!(
            search.steps[0].outcome,
            Finding::Missing("not given".to_owned())
        );
        assert!(
            search.steps[1..]
                .iter()
                .all(|step| matches!(step.outcome, Finding::Found(_))),
            "{search:?}"
        );
        assert_eq!(search.decided_by, Some(1));
        assert_eq!(search.used(), locate(None, &host).ok());

        let search = search_all(Some(Path::new("/no/such")), &host);
        assert_eq!(
            (search.decided_by, search.used(), search.steps.len()),
            (Some(0), None, 6)
        );
        assert!(
            search
                .result()
                .unwrap_err()
                .to_string()
                .starts_with("/no/such (from the given path) ")
        );
    }

    #[test]
    fn a_wrong_name_is_an_error_and_nothing_else_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let mut host = full_machine(folder.path());
        put(
            &folder.path().join("wrong/libonnxruntime_providers_cuda.so"),
            b"x",
        );
        put(&folder.path().join("zero.so"), b"");
        let rows = [
            ("absent.so", "it does not exist"),
            ("wrong", "it is a folder without libonnxruntime.so"),
            ("zero.so", "it is an empty file"),
        ];
        for (name, reason) in rows {
            let path = folder.path().join(name);
            let expect = |from: &str| {
                let path = path.display();
                format!("{path} (from {from}) is not ONNX Runtime's library: {reason}")
            };
            let error = locate(Some(&path), &host).unwrap_err();
            assert_eq!(
                (error.to_string(), error.search().steps.len()),
                (expect("the given path"), 1)
            );
            host.vars
                .insert("ORT_DYLIB_PATH".into(), path.clone().into());
            let error = locate(None, &host).unwrap_err();
            assert_eq!(
                (error.to_string(), error.search().steps.len()),
                (expect("ORT_DYLIB_PATH"), 2)
            );
        }
        assert!(!folder.path().join("started").exists());
    }

    #[test]
    fn dangling_active_is_told_and_the_next_place_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let mut host = full_machine(folder.path());
        host.vars.remove(std::ffi::OsStr::new("ORT_DYLIB_PATH"));
        put(
            &folder.path().join("data/onnxruntime/active"),
            b"cuda-9.9\n",
        );
        let search = search_all(None, &host);
        let reason = "`active` names cuda-9.9, which holds no library; cpu-1.2.3 is there";
        assert_eq!(search.steps[2].outcome, Finding::Missing(reason.to_owned()));
        assert_eq!(search.used().unwrap().origin, Origin::BesideExecutable);
    }

    #[test]
    fn a_python_that_hangs_or_lacks_the_package_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let python = crate::runtime::testing::script(folder.path(), "python3", "exec sleep 60");
        let mut host = host_with(&[("PATH", path)]);
        host.vars.insert("FER_PYTHON".into(), python.clone().into());
        host.python_time_limit = Duration::from_millis(300);
        let started = Instant::now();
        let search = search_all(None, &host);
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(search.steps[4].looked_at, std::slice::from_ref(&python));
        let reason = format!("{} gave no answer in 0.3 s", python.display());
        assert_eq!(search.steps[4].outcome, Finding::Missing(reason));

        crate::runtime::testing::script(folder.path(), "python3", "printf '\\nfer:\\n'");
        host.python_time_limit = Duration::from_secs(5);
        let outcome = &search_all(None, &host).steps[4].outcome;
        assert_eq!(
            *outcome,
            Finding::Missing("it has no package onnxruntime".to_owned())
        );
    }

    #[test]
    fn the_windows_system_folder_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let path = std::env::join_paths([at("Windows/System32"), at("tools")]).unwrap();
        let mut host = host_with(&[("SystemRoot", at("WINDOWS").to_str().unwrap())]);
        host.os = Os::Windows;
        host.vars.insert("Path".into(), path);
        assert_eq!(system_folders(&host), [at("tools")]);
    }
}
