//! A real PostgreSQL server of a test's own: a fresh cluster in a temporary folder, on a free port of
//! the loopback address, gone when the test ends.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

pub struct Server {
    dir: tempfile::TempDir,
    programs: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    child: Child,
    databases: AtomicU32,
}

impl Server {
    pub fn start() -> Self {
        let programs = programs();
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let user = other_user();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(dir.path(), Some(uid), Some(gid)).unwrap();
        }
        let made = command(&programs, "initdb", user)
            .args(["--no-sync", "--auth=scram-sha-256", "--username=cathedral", "--encoding=UTF8", "--locale=C"])
            .arg(format!("--pwfile={}", password_file(dir.path(), user).display()))
            .arg("--pgdata")
            .arg(dir.path().join("data"))
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        // Somebody may take the port between our looking and the server's start.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Ok(child) = serve(&programs, user, dir.path(), port) {
                return Self { dir, programs, user, port, child, databases: AtomicU32::new(0) };
            }
        }
        panic!("the PostgreSQL server does not start");
    }

    pub fn address(&self, database: &str) -> String {
        format!("postgres://cathedral:secret-word@127.0.0.1:{}/{database}", self.port)
    }

    pub async fn connection(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.address(database)).await.unwrap()
    }

    /// Makes an empty database and returns its address.
    pub async fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut conn = self.connection("postgres").await;
        conn.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        self.address(&name)
    }

    /// Kills every process of the server as a power cut would, and starts it again.
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.child = serve(&self.programs, self.user, self.dir.path(), self.port).unwrap();
    }

    fn kill(&mut self) {
        // SIGQUIT is the immediate shutdown: nothing is flushed, the next start recovers from the log.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL is not installed (no /usr/lib/postgresql/*/bin/initdb): install postgresql")
}

/// The server refuses to run as root: then it runs as the user its package has made.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|l| l.starts_with("postgres:")).expect("there is no user postgres to run it as");
    let mut numbers = line.split(':').skip(2).map(|n| n.parse().unwrap());
    Some((numbers.next().unwrap(), numbers.next().unwrap()))
}

fn command(programs: &Path, name: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(name));
    command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin");
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
}

fn password_file(dir: &Path, user: Option<(u32, u32)>) -> PathBuf {
    let path = dir.join("password");
    std::fs::write(&path, "secret-word\n").unwrap();
    if let Some((uid, gid)) = user {
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
    }
    path
}

/// Starts the server and returns when it takes connections.
fn serve(programs: &Path, user: Option<(u32, u32)>, dir: &Path, port: u16) -> Result<Child, String> {
    // Without fsync: the machine goes on when the server is killed, so nothing less is there afterwards.
    let mut child = command(programs, "postgres", user)
        .arg("-D")
        .arg(dir.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"])
        .args(["-c", "unix_socket_directories=", "-c", "log_min_messages=warning"])
        .args(["-c", "fsync=off", "-c", "logging_collector=off"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
    let mut said = String::new();
    for line in lines.by_ref().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.contains("ready to accept connections") {
            // Read on, so that the server never waits for us.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok(child);
        }
    }
    let _ = child.wait();
    Err(said)
}
