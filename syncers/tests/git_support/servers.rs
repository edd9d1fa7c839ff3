//! Real servers on the loopback: nginx with git's own CGI program, and OpenSSH.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::run;

/// A program that must be installed; the README says how.
fn program(names: &[&str]) -> PathBuf {
    let found = names
        .iter()
        .flat_map(|name| ["/usr/sbin", "/usr/bin", "/usr/local/bin"].map(|d| Path::new(d).join(name)))
        .find(|p| p.is_file());
    found.unwrap_or_else(|| {
        panic!("{} is not installed: apt-get install -y nginx-light fcgiwrap openssh-server", names[0])
    })
}

fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn wait_for(port: u16, what: &str) {
    let end = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "{what} does not listen on port {port}");
        std::thread::yield_now();
    }
}

/// Many installations lock root's password. Without PAM the server lets no locked account in, whatever its
/// key; with PAM it does, but PAM wants more of the machine than a container has.
fn account_is_locked() -> bool {
    let shadow = std::fs::read_to_string("/etc/shadow").unwrap_or_default();
    rustix::process::geteuid().is_root() && shadow.lines().any(|line| line.starts_with("root:!"))
}

/// Children that end with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // The workers first: nginx and fcgiwrap have some.
        let kids =
            Command::new("pgrep").args(["-P", &pid]).output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        for kid in kids.unwrap_or_default().split_whitespace() {
            let _ = Command::new("kill").arg(kid).stderr(Stdio::null()).status();
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves every repository below a folder over HTTP: `/pub` to all, `/ro` without pushes, and some
/// places that fail.
pub struct Http {
    pub port: u16,
    _children: [Running; 2],
}

impl Http {
    pub fn start(root: &Path) -> Self {
        let (nginx, fcgi) = (program(&["nginx"]), program(&["fcgiwrap"]));
        let cgi = format!("{}/git-http-backend", run(Command::new("git").arg("--exec-path")));
        let work = root.join(".http");
        for folder in ["tmp", "log"] {
            std::fs::create_dir_all(work.join(folder)).unwrap();
        }
        let (port, socket) = (free_port(), work.join("fcgi.sock"));
        let fcgi = Command::new(fcgi)
            .args(["-c", "4", "-s", &format!("unix:{}", socket.display())])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let fcgi = Running(fcgi);
        let end = Instant::now() + Duration::from_secs(20);
        while !socket.exists() {
            assert!(Instant::now() < end, "fcgiwrap does not start");
            std::thread::yield_now();
        }
        let location = |prefix: &str, extra: &str| {
            format!(
                "location ~ ^/{prefix}(?<gp_{prefix}>/.*)$ {{ {extra}
                 fastcgi_param SCRIPT_FILENAME {cgi}; fastcgi_param GIT_HTTP_EXPORT_ALL \"\";
                 fastcgi_param GIT_PROJECT_ROOT {root}; fastcgi_param PATH_INFO $gp_{prefix};
                 fastcgi_param REQUEST_METHOD $request_method; fastcgi_param QUERY_STRING $query_string;
                 fastcgi_param CONTENT_TYPE $content_type; fastcgi_param CONTENT_LENGTH $content_length;
                 fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding; fastcgi_param GIT_PROTOCOL $http_git_protocol;
                 fastcgi_param REMOTE_ADDR $remote_addr; fastcgi_pass unix:{socket}; }}\n",
                root = root.display(),
                socket = socket.display()
            )
        };
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let temp: String = ["client_body", "fastcgi", "proxy", "uwsgi", "scgi"]
            .iter()
            .map(|k| format!("{k}_temp_path {}/tmp/{k};\n", work.display()))
            .collect();
        let conf = format!(
            "daemon off; master_process on; worker_processes 1; {user} pid {work}/nginx.pid; error_log {work}/log/err;
             events {{ worker_connections 256; }}
             http {{ access_log off; client_max_body_size 0; fastcgi_request_buffering off; fastcgi_buffering off; {temp}
             server {{ listen 127.0.0.1:{port};
             {public} {ro}
             location /denied/ {{ add_header WWW-Authenticate 'Basic realm=git' always; return 401; }}
             location /forbidden/ {{ return 403; }} location /gone/ {{ return 404; }} location /broken/ {{ return 503; }}
             location ~ ^/moved(/.*)$ {{ return 301 http://127.0.0.1:{port}/pub$1$is_args$args; }} }} }}",
            work = work.display(),
            public = location("pub", ""),
            ro = location("ro", "if ($arg_service = git-receive-pack) { return 403; } if ($uri ~ git-receive-pack$) { return 403; }"),
        );
        std::fs::write(work.join("nginx.conf"), conf).unwrap();
        let nginx = Command::new(nginx)
            .args(["-p", &work.display().to_string(), "-e", &work.join("log/err").display().to_string()])
            .args(["-c", &work.join("nginx.conf").display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Running(nginx);
        wait_for(port, "nginx");
        Self { port, _children: [nginx, fcgi] }
    }

    pub fn url(&self, place: &str, name: &str) -> String {
        format!("http://127.0.0.1:{}/{place}/{name}", self.port)
    }
}

/// An OpenSSH server for one key, which may only run git on the repositories below a folder.
pub struct Ssh {
    pub port: u16,
    pub known_hosts: String,
    pub key: PathBuf,
    user: String,
    root: PathBuf,
    _child: Running,
}

impl Ssh {
    pub fn start(root: &Path) -> Self {
        let sshd = program(&["sshd"]);
        let work = root.join(".ssh-server");
        std::fs::create_dir_all(&work).unwrap();
        let make_key = |name: &str| {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(work.join(name)));
        };
        make_key("host");
        make_key("user");
        make_key("other");
        let public = |name: &str| {
            let text = std::fs::read_to_string(work.join(format!("{name}.pub"))).unwrap();
            text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
        };
        let shell = "#!/bin/sh\nexport GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'\nexec git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n";
        std::fs::write(work.join("gitcmd"), shell).unwrap();
        run(Command::new("chmod").arg("755").arg(work.join("gitcmd")));
        let keys = format!("command=\"{}\",restrict {}\n", work.join("gitcmd").display(), public("user"));
        std::fs::write(work.join("authorized_keys"), keys).unwrap();
        let port = free_port();
        let conf = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {w}/host\nAuthorizedKeysFile {w}/authorized_keys\nStrictModes no\nUsePAM {pam}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin forced-commands-only\nAcceptEnv GIT_PROTOCOL\n\
             PidFile {w}/pid\nMaxStartups 200:30:400\n",
            w = work.display(),
            pam = if account_is_locked() { "yes" } else { "no" },
        );
        std::fs::write(work.join("sshd_config"), conf).unwrap();
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let child = Command::new(sshd)
            .args([
                "-D",
                "-f",
                &work.join("sshd_config").display().to_string(),
                "-E",
                &work.join("log").display().to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let child = Running(child);
        wait_for(port, "sshd");
        let known_hosts = format!("[127.0.0.1]:{port} {}\n", public("host"));
        let user = run(Command::new("id").arg("-un"));
        Self { port, known_hosts, key: work.join("user"), user, root: root.to_owned(), _child: child }
    }

    /// The line of a host that has another key.
    pub fn wrong_hosts(&self) -> String {
        let text = std::fs::read_to_string(self.root.join(".ssh-server/other.pub")).unwrap();
        format!("[127.0.0.1]:{} {}\n", self.port, text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }

    /// A key nobody let in.
    pub fn stranger(&self) -> PathBuf {
        self.root.join(".ssh-server/other")
    }

    pub fn url(&self, name: &str) -> String {
        format!("ssh://{}@127.0.0.1:{}{}/{name}", self.user, self.port, self.root.display())
    }
}
