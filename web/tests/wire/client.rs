//! A client that writes bytes: what a browser would never send can be sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case; several of one name are joined by a line break.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The session cookie as a request sends it.
    pub fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

/// A request as text; `Host` and `Connection: close` are added unless given.
pub fn text(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut out = format!("{method} {path} HTTP/1.1\r\n");
    let has = |name: &str| headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    if !has("host") {
        out += "Host: localhost\r\n";
    }
    out += "Connection: close\r\n";
    for (name, value) in headers {
        out += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        out += &format!("Content-Length: {}\r\n", body.len());
    }
    out + "\r\n" + body
}

/// Sends raw bytes and reads to the end.
pub async fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let work = async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let request = request.to_vec();
        // A hub that refuses early does not read the rest.
        let writing = tokio::spawn(async move {
            let _ = write.write_all(&request).await;
            write
        });
        let mut answer = vec![];
        let mut piece = vec![0; 65_536];
        while let Ok(count) = read.read(&mut piece).await {
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&piece[..count]);
        }
        writing.abort();
        parse(&answer)
    };
    tokio::time::timeout(PATIENCE, work).await.expect("an answer in time")
}

pub async fn send(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    raw(address, text(method, path, headers, body).as_bytes()).await
}

/// Reads only the head: for answers that do not end.
pub async fn open(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (Reply, Lines) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text(method, path, headers, body).as_bytes()).await.unwrap();
    let mut lines = Lines { stream, held: vec![] };
    let mut head = String::new();
    loop {
        let line = lines.line().await.expect("a head");
        if line.is_empty() {
            break;
        }
        head += &line;
        head += "\r\n";
    }
    (parse(format!("{head}\r\n").as_bytes()), lines)
}

/// Lines of an answer that goes on.
pub struct Lines {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Lines {
    /// The next line; none when the other side has closed.
    pub async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=at).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            let mut piece = [0; 4_096];
            let reading = tokio::time::timeout(PATIENCE, self.stream.read(&mut piece));
            match reading.await.expect("a line in time") {
                Ok(count) if count > 0 => self.held.extend_from_slice(&piece[..count]),
                _ => return None,
            }
        }
    }

    /// The next line that begins so, without the beginning.
    pub async fn next(&mut self, start: &str) -> Option<String> {
        loop {
            let line = self.line().await?;
            if let Some(rest) = line.strip_prefix(start) {
                return Some(rest.to_owned());
            }
        }
    }
}

fn parse(answer: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text.as_str(), ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let entry = headers.entry(name.to_ascii_lowercase()).or_default();
        if !entry.is_empty() {
            entry.push('\n');
        }
        entry.push_str(value);
    }
    let is_chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    let body = if is_chunked { unchunk(body) } else { body.to_owned() };
    Reply { status, headers, body }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        if size == 0 || rest.len() < size {
            break;
        }
        out += &rest[..size];
        body = rest[size..].trim_start_matches("\r\n");
    }
    out
}
