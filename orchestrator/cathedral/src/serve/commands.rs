//! Commands for somebody elsewhere, each in a process of its own: what it prints and how it ends is what it
//! would be on the hub's machine, and nothing that goes wrong in it touches the hub.

use std::process::{ExitStatus, Stdio};

use cathedral_model::ports::PortError;
use cathedral_web::hub::{Said, Terminal};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::cli::{ON_BEHALF_OF, TERMINAL};
use crate::hub::Site;

/// Pieces that wait for a reader who is slower than the command.
const AHEAD: usize = 16;
const PIECE: usize = 64 << 10;

/// Begins a command in the name of `actor`; it is killed when nobody listens any more.
pub fn begin(site: &Site, words: Vec<String>, terminal: &Terminal, actor: &str) -> Result<Receiver<Said>, PortError> {
    let columns = |columns: Option<u16>| columns.map(|n| n.to_string()).unwrap_or_default();
    let shown =
        format!("{},{},{}", columns(terminal.out), columns(terminal.err), if terminal.utf8 { "utf8" } else { "" });
    // The program that serves, also when another was put in its place meanwhile.
    let child = Command::new("/proc/self/exe")
        .arg0("cathedral")
        .arg("--config")
        .arg(&site.file)
        .args(words)
        .current_dir(&site.root)
        .env_remove("CATHEDRAL_HUB")
        .env_remove("CATHEDRAL_TOKEN")
        .env_remove("CATHEDRAL_LOG_FORMAT")
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env("TERM", "xterm")
        .env(ON_BEHALF_OF, actor)
        .env(TERMINAL, shown)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| PortError::permanent(format!("the command could not be started: {e}")))?;
    let (say, said) = channel(AHEAD);
    tokio::spawn(async move {
        tokio::select! {
            () = say.closed() => {}
            () = listen(child, &say) => {}
        }
    });
    Ok(said)
}

async fn listen(mut child: Child, say: &Sender<Said>) {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    tokio::join!(pass(out, say, Said::Out), pass(err, say, Said::Err));
    let code = child.wait().await.map_or(1, code);
    let _ = say.send(Said::Exit(code)).await;
}

async fn pass<R: AsyncRead + Unpin>(from: Option<R>, say: &Sender<Said>, kind: fn(hyper::body::Bytes) -> Said) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; PIECE];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if say.send(kind(hyper::body::Bytes::copy_from_slice(&buffer[..n]))).await.is_err() {
            return;
        }
    }
}

/// The exit code; of a process that was ended by a signal, 128 and its number, as a shell has it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
