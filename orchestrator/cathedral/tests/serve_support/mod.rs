//! A hub that serves, seen from outside: its process, its address, and plain HTTP by hand.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::command;

/// What is awaited comes within this time, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `cathedral up`, killed when dropped.
pub struct Served {
    pub child: Child,
    /// Host and port.
    pub address: String,
    pub welcome: Option<String>,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

impl Served {
    /// Starts `up` and returns when it says where it listens.
    #[track_caller]
    pub fn start(hub: &Path) -> Self {
        Self::start_with(hub, &[], Stdio::null())
    }

    /// Starts `up` with more arguments; what it logs goes to `log`.
    #[track_caller]
    pub fn start_with(hub: &Path, more: &[&str], log: Stdio) -> Self {
        let mut command = command(hub, &["up", "--listen", "127.0.0.1:0", "--jsonl"]);
        let mut child = command.args(more).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("up said {line:?}: {e}"));
        super::support::outputs::validate("up", &told);
        let data = &told["data"];
        let address = data["address"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
        let welcome = data["welcome"].as_str().map(str::to_owned);
        Self { child, address, welcome }
    }

    /// Sends one request and reads the answer to its end.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut bytes = vec![];
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
        Reply { status, head: head.to_owned(), body: body.to_owned() }
    }

    #[track_caller]
    pub fn get(&self, path: &str, token: Option<&str>) -> Reply {
        let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
        let headers: Vec<(&str, &str)> = token.iter().map(|_| ("authorization", bearer.as_str())).collect();
        self.request("GET", path, &headers, b"")
    }

    /// Asks it to end, and returns its exit code.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < ended, "the hub did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it where it stands.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks again and again until something is as awaited; what it was at last is in the message.
#[track_caller]
pub fn awaited<T: std::fmt::Debug>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(Instant::now() < end, "{what} did not come: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}
