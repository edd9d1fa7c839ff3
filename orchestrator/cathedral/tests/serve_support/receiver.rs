//! Somebody on this machine that is told things: takes HTTP by hand, keeps what came, answers as it is told.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What came.
#[derive(Clone, Debug)]
pub struct Came {
    pub line: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Came {
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.maybe(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    pub fn maybe(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// How it answers; the count is that of requests before.
#[derive(Clone)]
pub enum Says {
    /// A whole answer, as bytes.
    Bytes(Vec<u8>),
    /// Nothing: the connection stays open until the other side ends it.
    Nothing,
    /// A head, then a body without an end.
    Endless,
}

pub fn says(status: &str, headers: &str) -> Says {
    Says::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{headers}\r\n").into_bytes())
}

type Script = dyn Fn(usize, &Came) -> Says + Send + Sync;

pub struct Receiver {
    pub port: u16,
    came: Arc<(Mutex<Vec<Came>>, Condvar)>,
}

impl Receiver {
    pub fn start(script: impl Fn(usize, &Came) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let came: Arc<(Mutex<Vec<Came>>, Condvar)> = Arc::default();
        let kept = Arc::clone(&came);
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &kept, script.as_ref()));
            }
        });
        Self { port, came }
    }

    pub fn always(status: &'static str) -> Self {
        Self::start(move |_, _| says(status, ""))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn all(&self) -> Vec<Came> {
        self.came.0.lock().unwrap().clone()
    }

    /// Waits until something came that is wanted, and gives it.
    #[track_caller]
    pub fn wait(&self, what: &str, wanted: impl Fn(&[Came]) -> Option<Came>) -> Came {
        let end = Instant::now() + Duration::from_secs(90);
        let mut came = self.came.0.lock().unwrap();
        loop {
            if let Some(found) = wanted(&came) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{what} did not come: {came:?}");
            came = self.came.1.wait_timeout(came, left).unwrap().0;
        }
    }

    /// Waits for the first message of a kind.
    #[track_caller]
    pub fn wait_for(&self, kind: &str) -> Came {
        self.wait(kind, |came| came.iter().find(|c| c.json()["type"] == kind).cloned())
    }
}

fn serve(mut stream: TcpStream, kept: &(Mutex<Vec<Came>>, Condvar), script: &Script) {
    let Some(came) = read(&mut stream) else { return };
    let says = {
        let mut all = kept.0.lock().unwrap();
        all.push(came.clone());
        kept.1.notify_all();
        script(all.len() - 1, &came)
    };
    match says {
        Says::Bytes(bytes) => drop(stream.write_all(&bytes)),
        Says::Nothing => drop(stream.read(&mut [0])),
        Says::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            let chunk = [b"1000\r\n".as_slice(), &[b'x'; 0x1000], b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {}
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Came> {
    let (mut bytes, mut piece) = (vec![], [0; 4096]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&piece[..n]);
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        let n = stream.read(&mut piece).ok().filter(|n| *n > 0)?;
        body.extend_from_slice(&piece[..n]);
    }
    Some(Came { line, headers, body, at: Instant::now() })
}
