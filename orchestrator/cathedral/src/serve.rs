//! `cathedral up`: one process with scheduler, watchers, worker, API and pages.

mod commands;
mod current;
mod declared;
mod deliveries;
mod first;
mod notices;
mod pages;
mod reload;
mod scheduler;
mod watching;
mod worker;

pub use declared::schedules;
pub use notices::sender;
pub use scheduler::zones;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cathedral_model::config::scalar::Frequency;
use cathedral_model::config::scalar::Scalar as _;
use cathedral_model::ids::SpokeName;
use cathedral_model::ports::env::Silent;
use cathedral_web::live::Bell;
use cathedral_web::serve::{Listener, LocalListener, serve};
use cathedral_web::state::{Ports as WebPorts, Settings, State};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::cli::{Ended, Failure, Output, Tint, safe};
use crate::hub::{Hub, HubEnv, Site};
use current::Current;
use reload::Reloader;

/// A run under way has this long to reach its end after the first signal; a longer one is taken up again
/// at the next start.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the hub is asked to serve.
#[derive(Debug, Default, Clone)]
pub struct Up {
    /// Above the configuration's.
    pub listen: Option<String>,
    /// Act on what is due and waiting, then end.
    pub once: bool,
    /// Lines for people beneath the address.
    pub try_this: Vec<String>,
}

/// Serves until a signal comes.
pub async fn up(site: Site, options: Up, output: &Output) -> Ended {
    let hub = Arc::new(Hub::open(site, Arc::new(Silent)).await?);
    serve_hub(hub, options, output).await
}

async fn serve_hub(hub: Arc<Hub>, options: Up, output: &Output) -> Ended {
    let (stop, stopped) = watch::channel(false);
    let bell = Bell::default();
    let wake_worker = Arc::new(Notify::new());
    let wake_intake = Arc::new(Notify::new());
    let wake_sender = Arc::new(Notify::new());
    let rung = (bell.clone(), Arc::clone(&wake_intake), Arc::clone(&wake_sender));
    (hub.stores.on_commit)(Box::new(move || {
        rung.0.ring();
        rung.1.notify_one();
        rung.2.notify_one();
    }));
    let site = Arc::new(Site::find(&hub.site.root, Some(&hub.site.file))?);
    let current = Arc::new(Current::new(hub.engine.clone(), Arc::clone(&site)));
    let reloader = Arc::new(Reloader::new(Arc::clone(&hub), Arc::clone(&current), Arc::clone(&wake_worker)));
    reloader.take_over("start").await?;
    if options.once {
        return once(&hub, &current, output).await;
    }
    let tcp = bind(&site, options.listen.as_deref()).await?;
    let address = tcp.local_addr().map_err(|e| Failure::io("the listener", &e))?;
    let socket = site.state.join("hub.sock");
    let local = LocalListener::bind(&socket).map_err(|e| Failure::io(&crate::hub::shown(&socket), &e))?;
    let told = crate::remote::tell_address(&site, address);
    told.map_err(|e| Failure::io(&crate::hub::shown(&site.state), &e))?;

    let face = Arc::new(pages::Face { hub: Arc::clone(&hub), reloader: Arc::clone(&reloader) });
    let ports = WebPorts {
        schedules: Arc::clone(&hub.stores.schedules),
        intake: Arc::clone(&hub.stores.intake),
        accounts: Arc::clone(&hub.stores.accounts),
        outgoing: Arc::clone(&hub.stores.outgoing),
        versions: Arc::clone(&hub.stores.versions),
    };
    let state = State::new(current.engine(), ports, face, bell, Settings::default());
    reloader.tell(Arc::clone(&state), Arc::clone(&current));
    let router = cathedral_web::routes::router(&state);

    let mut tasks = JoinSet::new();
    tasks.spawn(scheduler::run(
        Arc::clone(&current),
        Arc::clone(&hub.stores.schedules),
        Arc::clone(&hub.stores.store),
        Arc::clone(&wake_worker),
        reloader.changes(),
        stopped.clone(),
    ));
    tasks.spawn(deliveries::run(
        Arc::clone(&current),
        Arc::clone(&hub.stores.intake),
        wake_intake,
        Arc::clone(&wake_worker),
        stopped.clone(),
    ));
    tasks.spawn(notices::run(
        Arc::clone(&current),
        Arc::clone(&hub.stores.outgoing),
        wake_sender,
        reloader.changes(),
        stopped.clone(),
    ));
    tasks.spawn(reload::watch_spokes(
        Arc::clone(&reloader),
        Arc::clone(&current),
        Arc::clone(&wake_worker),
        stopped.clone(),
    ));
    tasks.spawn(reload::watch_file(Arc::clone(&reloader), stopped.clone()));
    let mut listeners = JoinSet::new();
    listeners.spawn(serve(Listener::Tcp(tcp), router.clone(), Arc::clone(&state), stopped.clone()));
    listeners.spawn(serve(Listener::Local(local), router, Arc::clone(&state), stopped.clone()));
    let worker = tokio::spawn(worker::work(Arc::clone(&current), wake_worker, stopped.clone()));

    let welcome = first::welcome(&hub, &state, address).await?;
    tell(&current, address, welcome.as_deref(), &options, output);
    tracing::info!(address = %address, "the hub is served");

    let signal = signal().await;
    tracing::info!(signal, "ending after the step under way");
    output.note(format!("{signal}: finishing the step under way; once more stops at once"));
    // Nobody listens any more only when all have ended by themselves.
    let _ = stop.send(true);
    let ended = async {
        // The worker first: what it finishes is still announced.
        let _ = worker.await;
        while tasks.join_next().await.is_some() {}
        while listeners.join_next().await.is_some() {}
    };
    let again = signal_again();
    tokio::select! {
        ended = tokio::time::timeout(PATIENCE, ended) => {
            if ended.is_err() {
                tracing::warn!("a run is still under way: it is taken up again at the next start");
                output.note("a run is still under way: it is taken up again at the next start");
            }
        }
        () = again => {}
    }
    Ok(0)
}

/// Acts on what is due and drives what waits, then ends: for cron and tests.
async fn once(hub: &Hub, current: &Arc<Current>, output: &Output) -> Ended {
    let now = HubEnv::clock();
    let tick =
        cathedral_engine::schedule::tick(&hub.stores.schedules, &hub.stores.store, now, &scheduler::zones).await?;
    let mut worst = 0;
    let mut count = 0;
    while let Some((run, summary)) = current.engine().work_once().await? {
        output.note(format!("run {run}: {:?}", summary.result));
        worst = worst.max(summary.code);
        count += 1;
    }
    current.engine().send_messages().await;
    sender(&hub.stores.outgoing).once(&current.site().notifications()).await?;
    output.data("up-once", &serde_json::json!({ "fired": tick.fired.len(), "runs": count, "code": worst }), &[]);
    Ok(worst)
}

async fn bind(site: &Site, listen: Option<&str>) -> Result<TcpListener, Failure> {
    let declared = site.config.cathedral_ecosystem.web.listen.text();
    let wanted = listen.unwrap_or(&declared);
    let address: SocketAddr = wanted.replace("localhost:", "127.0.0.1:").parse().map_err(|_| {
        Failure::new(2, "C1201", format!("{} is no address to listen on", safe(wanted)))
            .why("it must be an IP address and a port")
            .next("cathedral up --listen 127.0.0.1:7420")
    })?;
    if !address.ip().is_loopback() && site.config.cathedral_ecosystem.web.public_url.is_none() {
        return Err(Failure::new(
            7,
            "C1703",
            format!("{address} can be reached from other machines, and nothing protects it"),
        )
        .why("sign-in over plain HTTP would show passwords to the network; nothing was started")
        .next("put a proxy with TLS before it, and name its address as web.public_url")
        .next("cathedral up --listen 127.0.0.1:7420    serves this machine only"));
    }
    TcpListener::bind(address).await.map_err(|e| {
        let failure = Failure::new(1, "C1001", format!("{address} cannot be listened on: {e}"));
        match e.kind() {
            std::io::ErrorKind::AddrInUse => failure
                .why("another program listens there, perhaps the hub of another folder")
                .next("cathedral up --listen 127.0.0.1:0    takes any free port"),
            _ => failure.next("cathedral up --listen 127.0.0.1:7420"),
        }
    })
}

fn tell(current: &Current, address: SocketAddr, welcome: Option<&str>, options: &Up, output: &Output) {
    let name = current.engine().ecosystem().name.clone();
    output.data(
        "up",
        &serde_json::json!({ "address": format!("http://{address}"), "ecosystem": name, "welcome": welcome }),
        &[],
    );
    output.say(format!(
        "{} {} is served at {}",
        output.paint(Tint::Good, output.symbol("●", "ok")),
        output.paint(Tint::Bold, &safe(&name)),
        output.paint(Tint::Bold, &format!("http://{address}/"))
    ));
    if let Some(link) = welcome {
        output.say(format!("  first sign-in, once:  {link}"));
    }
    for line in &options.try_this {
        output.say(format!("  {line}"));
    }
    output.say(output.paint(Tint::Dim, "  Ctrl-C ends it after the step under way"));
}

/// Spokes that are watched instead of scheduled.
fn real_time(site: &Site) -> Vec<SpokeName> {
    let declared = &site.config.cathedral_ecosystem;
    let git = declared.connected_repositories.iter().map(|r| (r.name.as_str(), &r.update_frequency));
    let databases = declared.connected_databases.iter().map(|d| (d.name.as_str(), &d.update_frequency));
    let files = declared.connected_files.iter().map(|f| (f.name.as_str(), &f.update_frequency));
    git.chain(databases)
        .chain(files)
        .filter(|(_, frequency)| matches!(frequency, Frequency::RealTime))
        .filter_map(|(name, _)| SpokeName::new(name).ok())
        .collect()
}

async fn signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
            return "interrupted";
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "interrupted",
        _ = terminate.recv() => "asked to end",
    }
}

async fn signal_again() {
    let _ = signal().await;
}
