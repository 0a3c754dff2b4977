use super::*;
use crate::runtime::testing::{FakeMachine, put, wheel, zip_file};
use crate::runtime::{Origin, cuda_library_folder, locate};

const LIB: (&str, &[u8]) = ("onnxruntime/capi/libonnxruntime.so.1.2.3", b"the library");
const OTHER: [(&str, &[u8]); 6] = [
    (
        "onnxruntime/capi/libonnxruntime_providers_shared.so",
        b"shared",
    ),
    (
        "onnxruntime/capi/onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so",
        b"binding",
    ),
    ("onnxruntime/capi/deeper/libonnxruntime_deep.so", b"deep"),
    ("onnxruntime/LICENSE", b"free"),
    ("onnxruntime/__init__.py", b"import"),
    ("onnxruntime-1.2.3.dist-info/METADATA", b"Name: onnxruntime"),
];

fn members() -> Vec<(&'static str, &'static [u8])> {
    [&[LIB], &OTHER[..]].concat()
}

fn request(version: &str) -> Request {
    Request {
        version: Some(version.to_owned()),
        ..Request::default()
    }
}

/// Installs, and returns the events as words besides the result.
fn run(machine: &FakeMachine, request: &Request) -> (Vec<String>, Result<Installed, InstallError>) {
    let mut events = Vec::new();
    let result = install(request, &machine.host, &mut |event| {
        events.push(
            format!("{event:?}")
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
        );
    });
    (events, result)
}

#[test]
fn a_good_wheel_is_installed_once_and_found() {
    let machine = FakeMachine::new();
    wheel(&machine.wheel, &members());
    let (events, result) = run(&machine, &request("1.2.3"));
    let installed = result.unwrap();
    assert_eq!(
        events,
        ["Asking", "Downloading", "Verified", "Unpacked", "Activated"]
    );
    assert_eq!(
        (installed.flavor, installed.version.as_str()),
        (Flavor::Cpu, "1.2.3")
    );
    assert_eq!(
        installed.library,
        machine.store().join("cpu-1.2.3/libonnxruntime.so.1.2.3")
    );
    assert_eq!(fs::read(&installed.library).unwrap(), LIB.1);
    let expected = [
        "LICENSE",
        "METADATA",
        "SHA256SUMS",
        "libonnxruntime.so.1.2.3",
        "libonnxruntime_providers_shared.so",
    ];
    assert_eq!(machine.names("cpu-1.2.3"), expected);
    assert_eq!(machine.names(""), [".lock", "active", "cpu-1.2.3"]);
    let found = locate(None, &machine.host).unwrap();
    assert_eq!(
        (found.path, found.origin),
        (installed.library.clone(), Origin::DataFolder)
    );

    let calls = machine.calls();
    assert!(
        calls
            .iter()
            .any(|call| call.contains("--platform manylinux_2_28_x86_64")),
        "{calls:?}"
    );
    assert!(
        calls
            .iter()
            .all(|call| !call.contains("index") && !call.contains("://")),
        "{calls:?}"
    );
    assert!(
        calls.last().unwrap().ends_with(" onnxruntime==1.2.3"),
        "{calls:?}"
    );

    // The second time nothing is downloaded, and not even Python is started. `force` downloads
    // again.
    let (events, result) = run(&machine, &request("1.2.3"));
    assert_eq!(
        (events.as_slice(), result.unwrap()),
        (
            &["AlreadyInstalled", "Activated"].map(String::from)[..],
            installed.clone()
        )
    );
    assert_eq!(machine.calls(), calls);
    put(&machine.store().join("cpu-1.2.3/stray"), b"x");
    let (events, result) = run(
        &machine,
        &Request {
            force: true,
            ..request("1.2.3")
        },
    );
    assert_eq!((events.len(), result.is_ok()), (5, true));
    assert_eq!(machine.names("cpu-1.2.3"), expected);
    assert_eq!(machine.names(""), [".lock", "active", "cpu-1.2.3"]);

    // A damaged file is found and replaced.
    put(&installed.library, b"the lib");
    let (events, result) = run(&machine, &request("1.2.3"));
    assert_eq!((events[0].as_str(), result.is_ok()), ("Damaged", true));
    assert_eq!(fs::read(&installed.library).unwrap(), LIB.1);
}

#[test]
fn a_folder_without_the_library_is_made_anew() {
    let machine = FakeMachine::new();
    wheel(&machine.wheel, &members());
    put(&machine.store().join("cpu-1.2.3/half"), b"x");
    run(&machine, &request("1.2.3")).1.unwrap();
    assert!(!machine.store().join("cpu-1.2.3/half").exists());
}

#[test]
fn failures_leave_what_was_there_and_say_what_failed() {
    let mut wrong = Vec::new();
    let mut check = |row: &str, prepare: &dyn Fn(&FakeMachine), expected: &str| {
        let machine = FakeMachine::new();
        wheel(&machine.wheel, &members());
        run(&machine, &request("1.0")).1.unwrap();
        // A working machine with one version installed. The following steps must fail.
        prepare(&machine);
        let text = match run(&machine, &request("1.2.3")).1 {
            Ok(installed) => format!("{installed:?}"),
            // The variant decides on the advice.
            Err(error) => format!("{error} {error:?}"),
        };
        let kept = machine.names("") == [".lock", "active", "cpu-1.0.0"]
            && fs::read_to_string(machine.store().join("active")).unwrap() == "cpu-1.0.0\n";
        if !text.contains(expected) || text.contains('\n') || !kept {
            wrong.push(format!("{row}: {text} {:?}", machine.names("")));
        }
    };
    check(
        "hash",
        &|m| m.set("hash", &"ab".repeat(32)),
        "abab was expected (the package index); nothing was installed",
    );
    check(
        "no hash",
        &|m| m.set("hash", "ab"),
        "gives no SHA-256 for onnxruntime",
    );
    check(
        "no version",
        &|m| m.set("fail", "ERROR: No matching distribution found for x"),
        "No matching distribution",
    );
    check(
        "disk full",
        &|m| m.set("fail", "ERROR: [Errno 28] No space left on device"),
        "failure: NoSpace",
    );
    check(
        "no pip",
        &|m| m.set("no-pip", "x"),
        "No module named pip NoPip {",
    );
    check(
        "old pip",
        &|m| m.set("version", "pip 22.1 from x"),
        "has pip 22.1, but asking the package index for hashes needs 22.2 or newer OldPip {",
    );
    check(
        "very old pip",
        &|m| m.set("version", "pip 20.0.2 from x"),
        "has pip 20.0",
    );
    check(
        "no file",
        &|m| fs::remove_file(&m.wheel).unwrap(),
        "is not usable (no file)",
    );
    check(
        "platform",
        &|m| m.set("name", "onnxruntime-1.2.3-cp312-cp312-win_amd64.whl"),
        "is for another platform",
    );
    check(
        "no Python",
        &|m| fs::remove_file(m.folder.path().join("bin/python3")).unwrap(),
        "none of python3, python is on PATH NoPython(",
    );
    check(
        "truncated",
        &|m| {
            let whole = fs::read(&m.wheel).unwrap();
            put(&m.wheel, &whole[..whole.len() / 2]);
        },
        "is not a readable zip file",
    );
    check(
        "record",
        &|m| {
            let record = crate::runtime::testing::record_of(&members());
            let content = [("onnxruntime/capi/libonnxruntime.so.1.2.3", &b"another"[..])];
            zip_file(
                &m.wheel,
                &[&content[..], &[("x-1.dist-info/RECORD", record.as_bytes())]].concat(),
            );
        },
        "libonnxruntime.so.1.2.3\", which differs from its RECORD",
    );
    check(
        "no library",
        &|m| drop(wheel(&m.wheel, &OTHER)),
        "onnxruntime 1.2.3 holds no ONNX Runtime library",
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_cuda_build_with_and_without_the_libraries_of_nvidia() {
    const METADATA: &[u8] = b"Name: onnxruntime-gpu\n\
        Requires-Dist: nvidia-cuda-runtime~=13.0; extra == \"cuda\"\n\
        Requires-Dist: nvidia-cudnn-cu13~=9.0; extra == \"cudnn\"\n";
    let machine = FakeMachine::new();
    let provider = (
        "onnxruntime/capi/libonnxruntime_providers_cuda.so",
        &b"provider"[..],
    );
    let metadata = ("onnxruntime_gpu-1.2.3.dist-info/METADATA", METADATA);
    wheel(&machine.wheel, &[LIB, provider, metadata]);
    let own = |package: &str, member: &str| {
        let file = machine.folder.path().join(format!("wheel-{package}"));
        let license = format!("{package}.dist-info/licenses/License.txt");
        wheel(
            &file,
            &[
                (member, b"library"),
                (&license, b"terms"),
                ("nvidia/cu13/include/a.h", b"header"),
            ],
        );
    };
    own("nvidia-cuda-runtime", "nvidia/cu13/lib/libcudart.so.13");
    own("nvidia-cudnn-cu13", "nvidia/cudnn/lib/libcudnn.so.9");

    let without = Request {
        cuda: true,
        ..request("1.2.3")
    };
    let installed = run(&machine, &without).1.unwrap();
    assert!(
        matches!(&installed.cuda, Some(CudaNeeds::All { cuda, cudnn, .. })
            if (cuda.as_str(), cudnn.as_str()) == ("13", "9")),
        "{:?}",
        installed.cuda
    );
    assert_eq!(
        cuda_library_folder(&locate(None, &machine.host).unwrap()),
        None
    );

    let with = Request {
        with_cuda_libs: true,
        ..without
    };
    let (events, result) = run(&machine, &with);
    let needs = result.unwrap().cuda;
    assert!(
        matches!(&needs, Some(CudaNeeds::Driver { cuda, cudnn })
            if (cuda.as_str(), cudnn.as_str()) == ("13", "9")),
        "{needs:?}"
    );
    let count = |name: &str| events.iter().filter(|event| *event == name).count();
    assert_eq!(
        (
            count("Asking"),
            count("Downloading"),
            count("Verified"),
            count("Unpacked")
        ),
        (2, 3, 3, 3)
    );
    let expected = [
        "LICENSE-nvidia-cuda-runtime.txt",
        "LICENSE-nvidia-cudnn-cu13.txt",
        "libcudart.so.13",
        "libcudnn.so.9",
    ];
    assert_eq!(machine.names("cuda-1.2.3/nvidia"), expected);
    let folder = cuda_library_folder(&locate(None, &machine.host).unwrap());
    assert_eq!(folder, Some(machine.store().join("cuda-1.2.3/nvidia")));
    // The existing folder also serves a request without them.
    assert_eq!(
        run(
            &machine,
            &Request {
                with_cuda_libs: false,
                ..with
            }
        )
        .0[0],
        "AlreadyInstalled"
    );
}

#[test]
fn the_default_version_is_held_to_the_built_in_hash() {
    let machine = FakeMachine::new();
    wheel(&machine.wheel, &members());
    let error = run(&machine, &Request::default()).1.unwrap_err();
    assert!(
        matches!(error, InstallError::WrongHash { pinned: true, .. }),
        "{error}"
    );
    // The index is not asked for the hash.
    assert!(
        machine
            .calls()
            .iter()
            .all(|call| !call.contains("--report"))
    );
    assert_eq!(machine.names(""), [".lock"]);
}

#[test]
fn leftovers_of_dead_runs_are_removed_and_a_live_run_is_not_disturbed() {
    let machine = FakeMachine::new();
    wheel(&machine.wheel, &members());
    put(
        &machine
            .store()
            .join(".tmp-dead/new/libonnxruntime.so.1.2.3"),
        b"half",
    );
    let live = lock(&Store::of(&machine.host).unwrap()).unwrap();
    let error = run(&machine, &request("1.2.3")).1.unwrap_err();
    assert!(matches!(error, InstallError::Busy { .. }), "{error}");
    assert!(machine.store().join(".tmp-dead").exists());
    drop(live);
    run(&machine, &request("1.2.3")).1.unwrap();
    assert_eq!(machine.names(""), [".lock", "active", "cpu-1.2.3"]);
}

#[test]
fn a_data_folder_that_cannot_be_written() {
    let mut machine = FakeMachine::new();
    let in_the_way = put(&machine.folder.path().join("file"), b"x");
    machine
        .host
        .vars
        .insert("FER_DATA_DIR".into(), in_the_way.into());
    let error = run(&machine, &request("1.2.3")).1.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("cannot make the folder ")
            && matches!(&error, InstallError::Io { source, .. }
                if source.kind() == std::io::ErrorKind::NotADirectory),
        "{error:?}"
    );

    use std::os::unix::fs::PermissionsExt;
    let closed = machine.folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if File::create(closed.join("probe")).is_ok() {
        eprintln!("skipped the rest: this user may write anywhere");
        return;
    }
    machine
        .host
        .vars
        .insert("FER_DATA_DIR".into(), closed.into());
    let error = run(&machine, &request("1.2.3")).1.unwrap_err();
    assert!(
        matches!(&error, InstallError::Io { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied),
        "{error:?}"
    );
}

#[test]
fn what_does_not_fit_the_machine_is_refused_before_anything_is_touched() {
    let mut machine = FakeMachine::new();
    let libraries_alone = Request {
        with_cuda_libs: true,
        ..Request::default()
    };
    assert!(matches!(
        run(&machine, &libraries_alone).1,
        Err(InstallError::CudaLibsWithoutCuda)
    ));
    machine.host.arch = "riscv64".to_owned();
    assert!(matches!(
        run(&machine, &Request::default()).1,
        Err(InstallError::NoPlatform { .. })
    ));
    (machine.host.os, machine.host.arch) = (crate::runtime::Os::MacOs, "aarch64".to_owned());
    let cuda = Request {
        cuda: true,
        ..Request::default()
    };
    assert!(matches!(
        run(&machine, &cuda).1,
        Err(InstallError::NoCudaBuild { .. })
    ));
    assert!(!machine.store().exists());
    machine.host.vars.clear();
    assert!(matches!(
        run(&machine, &request("1.2")).1,
        Err(InstallError::NoDataFolder)
    ));
}
