//! Compiling components (reliability.md E.2): a compiler's work can be made huge by who writes its input, so it is done by a
//! process of its own with limits, or, in programs that cannot start themselves again, on a thread that is not waited for
//! for ever. Keeps nothing: that is the cache's business.
//!
//! The child is the same program. It gets the component as a file without a name on its standard input, no environment, no
//! other file, and may open none; its answer is a file without a name too, and is believed only as a whole: with its hash.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, getrlimit, pidfd_open, setrlimit};

use super::runtime::{self, COMPILER_STACK_BYTES, Space};
use super::{check, shape};

/// First byte of what a child answers.
const CODE: u8 = 0;
const REFUSAL: u8 = 1;
const HASH_BYTES: usize = 32;
/// What a sentence begins with that says which limit was exceeded.
const EXCEEDS: &str = "cannot be compiled: it takes more than ";
/// Threads of a child.
const THREADS: &str = "4";

/// Where components are compiled. The default policy, which is part of the program, is compiled here, unless the address space
/// is limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// In this process, on a thread of its own. One that takes too long is given up, but what it uses until it ends is not
    /// limited: for programs that embed haul and load components that they know.
    #[default]
    Here,
    /// By a process of its own, within limits on its memory, its time and its answer.
    Child {
        /// This program.
        program: PathBuf,
        /// Arguments with which it calls [`compile_as_child`] and does nothing else.
        arguments: Vec<OsString>,
    },
}

/// What compiling a component may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    memory_bytes: u64,
    cpu_s: u64,
    wall: Duration,
    answer_bytes: u64,
}

impl Limits {
    /// Of a component of so many bytes: reliability.md E.2's up to 4 MiB, where its components end, and more time for
    /// more. The interpreters of 14 to 18 MiB take 15 s on the CPU and 800 MiB. By the clock it may take three times as long
    /// (E.2: 30 s in all), for on a busy machine an honest one does.
    fn of(wasm_bytes: usize) -> Self {
        let bytes = wasm_bytes as u64;
        let further_mebibytes = bytes.saturating_sub(4 << 20).div_ceil(1 << 20);
        let cpu_s = 20 + 2 * further_mebibytes;
        let allowed = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        Self {
            memory_bytes: allowed.min(1 << 30),
            cpu_s,
            wall: Duration::from_secs(3 * cpu_s),
            answer_bytes: (16 << 20) + 16 * bytes,
        }
    }
}

impl Compiler {
    /// Code that [`wasmtime::component::Component::deserialize`] takes, of an engine of this process. The error is a phrase.
    pub(super) fn compile(&self, space: Space, wasm: &[u8]) -> Result<Vec<u8>, String> {
        let limits = Limits::of(wasm.len());
        match self {
            Compiler::Here => here(space, wasm, limits.wall),
            Compiler::Child { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments);
                in_child(command, wasm, limits)
            }
        }
    }
}

/// The limits for a component of so many bytes, as part of a file's name.
pub(super) fn limits_of(wasm_bytes: usize) -> String {
    let Limits { memory_bytes, cpu_s, .. } = Limits::of(wasm_bytes);
    format!("{}-{cpu_s}", memory_bytes >> 20)
}

/// Whether a component was refused for what compiling it takes: within the same limits that would be so again.
pub(super) fn exceeds(reason: &str) -> bool {
    reason.starts_with(EXCEEDS)
}

/// Components that could not be compiled, by digest: what takes half a minute to refuse is refused once.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<[u8; 32], String>>);

impl Refused {
    const MAX: usize = 1024;

    pub(super) fn reason(&self, digest: &[u8; 32]) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    pub(super) fn remember(&self, digest: &[u8; 32], reason: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < Self::MAX {
            refused.insert(*digest, reason.to_owned());
        }
    }
}

fn compiled(space: Space, wasm: &[u8]) -> Result<Vec<u8>, String> {
    shape::check(wasm)?;
    runtime::precompile(space, wasm)
        .map_err(|error| format!("is not a valid component: {}", check::text(error.root_cause().to_string())))
}

fn here(space: Space, wasm: &[u8], wall: Duration) -> Result<Vec<u8>, String> {
    let (sender, answer) = mpsc::sync_channel(1);
    let wasm = wasm.to_vec();
    let work = move || drop(sender.send(compiled(space, &wasm)));
    let thread = std::thread::Builder::new().name("haul-compile".into()).stack_size(COMPILER_STACK_BYTES);
    thread.spawn(work).map_err(|error| format!("cannot be compiled: no thread can be started: {error}"))?;
    match answer.recv_timeout(wall) {
        Ok(answer) => answer,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(too_long(wall)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("cannot be compiled: the compiler panicked".into()),
    }
}

fn too_long(wall: Duration) -> String {
    format!("cannot be compiled: it takes longer than {} s", wall.as_secs())
}

fn in_child(mut command: Command, wasm: &[u8], limits: Limits) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("cannot be compiled: the compiler cannot be started: {error}");
    let (question, mut answer) = files(wasm).map_err(failed)?;
    let output = answer.try_clone().map_err(failed)?;
    command
        .env_clear()
        .env("RAYON_NUM_THREADS", THREADS)
        .env("MALLOC_ARENA_MAX", "2") // each takes 64 MiB of the address space
        .current_dir("/")
        .stdin(question)
        .stdout(output)
        .stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let ended = wait(&mut child, limits.wall);
    let status = match ended {
        Ok(Some(status)) => status,
        Ok(None) => return Err(too_long(limits.wall)),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let read = answer.seek(SeekFrom::Start(0)).and_then(|_| answer.take(limits.answer_bytes).read_to_end(&mut bytes));
    match (status.success(), read) {
        (true, Ok(_)) => understood(&bytes),
        (true, Err(error)) => Err(failed(error)),
        (false, _) => Err(gone_wrong(status, limits)),
    }
}

/// The component, to be read from its start, and an empty file.
fn files(wasm: &[u8]) -> io::Result<(File, File)> {
    let nameless = |name: &str| rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).map(File::from);
    let mut question = nameless("component")?;
    question.write_all(wasm)?;
    question.seek(SeekFrom::Start(0))?;
    Ok((question, nameless("code")?))
}

/// Waits for the end of a child; one that takes too long is killed. `None`: it was.
fn wait(child: &mut Child, wall: Duration) -> io::Result<Option<ExitStatus>> {
    let pid =
        i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::Error::other("no such child"))?;
    let ended = pidfd_open(pid, PidfdFlags::empty()).and_then(|handle| {
        let limit = Timespec { tv_sec: wall.as_secs().cast_signed(), tv_nsec: wall.subsec_nanos().into() };
        let mut waiting = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
        loop {
            match poll(&mut waiting, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => {}
                ended => return ended,
            }
        }
    });
    if !matches!(ended, Ok(count) if count > 0) {
        child.kill()?;
        child.wait()?;
        return ended.map(|_| None).map_err(io::Error::from);
    }
    child.wait().map(Some)
}

fn gone_wrong(status: ExitStatus, limits: Limits) -> String {
    let (cpu_s, memory) = (limits.cpu_s, limits.memory_bytes >> 20);
    let signal = |signal: Signal| status.signal() == Some(signal.as_raw());
    if signal(Signal::XCPU) || signal(Signal::KILL) {
        format!("{EXCEEDS}{cpu_s} s on the CPU")
    } else if signal(Signal::ABORT) || signal(Signal::SEGV) {
        format!("{EXCEEDS}{memory} MiB of memory, or breaks the compiler")
    } else {
        format!("cannot be compiled: the compiler ended with {status}")
    }
}

/// What a child has answered, if that is whole.
fn understood(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let broken = || "cannot be compiled: the compiler's answer is not whole".to_owned();
    let (hash, content) = bytes.split_at_checked(HASH_BYTES).ok_or_else(broken)?;
    let is_whole = blake3::hash(content) == *<&[u8; HASH_BYTES]>::try_from(hash).map_err(|_| broken())?;
    match content.split_first() {
        Some((&CODE, code)) if is_whole => Ok(code.to_vec()),
        Some((&REFUSAL, reason)) if is_whole => Err(check::text(String::from_utf8_lossy(reason).into_owned())),
        _ => Err(broken()),
    }
}

/// What a program does that was started as [`Compiler::Child`]: reads a component from its standard input, compiles it within
/// limits that it sets itself before it looks at a byte, and writes the code to its standard output. Answers the exit code.
///
/// Must be called before anything else: before threads are started and files opened.
pub fn compile_as_child() -> u8 {
    let answer = || -> io::Result<()> {
        let (input, mut output) = (io::stdin(), io::stdout());
        let question = File::from(input.as_fd().try_clone_to_owned()?);
        let wasm_bytes = usize::try_from(question.metadata()?.len()).unwrap_or(usize::MAX);
        drop(question);
        let space = Space::of_process();
        confine(Limits::of(wasm_bytes))?;
        let mut wasm = Vec::with_capacity(wasm_bytes);
        input.lock().read_to_end(&mut wasm)?;
        let (kind, content) = match compiled(space, &wasm) {
            Ok(code) => (CODE, code),
            Err(reason) => (REFUSAL, reason.into_bytes()),
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(&content);
        output.write_all(hasher.finalize().as_bytes())?;
        output.write_all(&[kind])?;
        output.write_all(&content)?;
        output.flush()
    };
    answer().is_err().into()
}

/// Gives up everything that compiling does not need.
fn confine(limits: Limits) -> io::Result<()> {
    let most = |resource: Resource, most: u64| {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(io::Error::from)
    };
    most(Resource::As, limits.memory_bytes)?;
    most(Resource::Cpu, limits.cpu_s)?;
    most(Resource::Fsize, limits.answer_bytes)?;
    most(Resource::Core, 0)?;
    most(Resource::Nofile, 3)?; // the three there are: no file is opened from here on, and no socket
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory_bytes: 1 << 30, cpu_s: 20, wall: Duration::from_secs(60), answer_bytes: 1 << 20 };

    fn told(script: &str, limits: Limits) -> Result<Vec<u8>, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        in_child(command, b"component", limits)
    }

    #[test]
    fn an_answer_that_is_not_whole_is_not_believed() {
        for script in ["true", "printf 0123456789012345678901234567890123456789", "exit 3"] {
            assert!(told(script, LIMITS).is_err(), "{script}");
        }
        let mut answer = blake3::hash(&[CODE, 7]).as_bytes().to_vec();
        answer.extend([CODE, 7]);
        assert_eq!(understood(&answer).unwrap(), [7]);
        answer.pop();
        assert!(understood(&answer).is_err());
    }

    #[test]
    fn a_compiler_that_takes_too_long_is_ended() {
        let limits = Limits { wall: Duration::from_millis(50), ..LIMITS };
        assert!(told("exec sleep 1000", limits).unwrap_err().contains("longer than"), "a child");
        let sentence = told("kill -XCPU $$", LIMITS).unwrap_err();
        assert!(sentence.contains("20 s on the CPU"), "{sentence}");
    }

    /// The test below, which is also the compiler's process, when it is told what to do as one.
    const WITHIN_LIMITS: &str = "hooks::compile::tests::what_takes_more_than_its_limits_is_ended_by_the_system";

    #[test]
    fn what_takes_more_than_its_limits_is_ended_by_the_system() {
        let tight = Limits { cpu_s: 1, ..LIMITS };
        if let Some(deed) = std::env::args().find_map(|word| word.strip_prefix("deed-").map(str::to_owned)) {
            confine(tight).unwrap();
            return misbehave(&deed);
        }
        let told = |deed: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", WITHIN_LIMITS, "--nocapture", &format!("deed-{deed}")]);
            in_child(command, b"component", tight).unwrap_err()
        };
        for (deed, words) in [
            ("memory", "more than 1024 MiB of memory"),
            ("cpu", "more than 1 s on the CPU"),
            ("answer", "the compiler ended with signal"),
            ("open", "not whole"), // nothing could be opened, and it ended well
        ] {
            let sentence = told(deed);
            assert!(sentence.contains(words), "{deed}: {sentence}");
        }
    }

    fn misbehave(deed: &str) {
        match deed {
            "memory" => drop(std::hint::black_box(vec![1_u8; 2 << 30])),
            "cpu" => while std::hint::black_box(true) {},
            "answer" => drop(io::stdout().write_all(&vec![0; 2 << 20]).and_then(|()| io::stdout().flush())),
            _ => assert!(File::open("/etc/passwd").is_err() && std::net::TcpListener::bind("127.0.0.1:0").is_err()),
        }
    }

    #[test]
    fn a_compiler_sees_the_component_and_no_environment() {
        let sentence = told("test \"$(cat)\" = component && test -z \"$HOME$CARGO$USER\" && exit 0; exit 1", LIMITS);
        assert!(sentence.unwrap_err().contains("not whole"), "it ended well, without an answer");
    }
}
