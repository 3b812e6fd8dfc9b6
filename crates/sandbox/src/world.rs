//! Owns the sandbox as a whole: it starts the parts in an order in which each finds what it needs,
//! and ends them so that no process, socket or file is left.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;
use weir_apiserver::{ApiServer, OpenFailure, Tuning};
use weir_object::Object;
use weir_runtime::http::Http;
use weir_runtime::kinds::POD;
use weir_runtime::{
    ApiFailure, Context, Controller, Projection, Secret, SharedClock, SystemClock, VirtualClock,
    WatchOf,
};

use crate::hands::HandFailure;

use crate::addresses::Addresses;
use crate::api_port::{ApiPort, PortFailure};
use crate::block::{self, Block};
use crate::control::{self, Controls};
use crate::gitserver::{GitServer, GitServerOptions};
use crate::images::Images;
use crate::keeping;
use crate::kubelet::{Kubelet, Node};
use crate::logs::Logs;
use crate::manifests::{self, Loaded, ManifestFailure};
use crate::memory::MemoryNet;
use crate::names::Names;
use crate::network::{Network, Served};
use crate::plane::Plane;
use crate::prometheus::{Prometheus, ScrapeOptions};
use crate::proxy::{Proxy, ProxyMetrics};
use crate::registry::{Registry, RegistryOptions};
use crate::services::ServicePorts;
use crate::tempo::Tempo;
use crate::{gateway, install, istio, scraped, webhooks};

/// How a sandbox starts.
#[derive(Clone)]
pub struct Options {
    /// Real sockets, or memory.
    pub network: Network,
    /// Where repositories, images and logs are kept; nothing in it outlives its owner's wish.
    pub dir: PathBuf,
    /// Port of the API on loopback; 0 takes a free one.
    pub api_port: u16,
    /// The wall clock.
    pub clock: SharedClock,
    /// The seed of names and uids.
    pub seed: u64,
    /// Between two scrapes of a target.
    pub scrape_interval: Duration,
    /// The pace of virtual time, where time is virtual. The network is memory then; the API, Git,
    /// the registry and Prometheus can be reached from outside all the same.
    pub tempo: Option<Tempo>,
    /// The file that holds the state from one start to the next; otherwise nothing is kept.
    pub state: Option<PathBuf>,
}

impl Options {
    /// A sandbox on loopback.
    pub fn loopback(dir: &Path) -> Self {
        Self {
            network: Network::Loopback,
            dir: dir.to_owned(),
            api_port: 6443,
            clock: Arc::new(SystemClock),
            seed: u64::from(std::process::id()),
            scrape_interval: Duration::from_millis(500),
            tempo: None,
            state: None,
        }
    }

    /// A sandbox in memory.
    pub fn memory(dir: &Path, clock: SharedClock, seed: u64) -> Self {
        Self {
            network: Network::Memory(MemoryNet::default()),
            dir: dir.to_owned(),
            api_port: 0,
            clock,
            seed,
            scrape_interval: Duration::from_secs(1),
            tempo: None,
            state: None,
        }
    }

    /// A sandbox in virtual time that keeps step with real time until it is moved. It must be called
    /// inside a paused runtime of one thread.
    pub fn in_virtual_time(dir: &Path) -> Self {
        let clock = Arc::new(VirtualClock::starting_at(jiff::Timestamp::now()));
        Self {
            api_port: 6443,
            tempo: Some(Tempo::start()),
            ..Self::memory(dir, clock, u64::from(std::process::id()))
        }
    }

    /// Whether other programs on this machine can reach it.
    fn is_open(&self) -> bool {
        matches!(self.network, Network::Loopback) || self.tempo.is_some()
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// No block of loopback addresses is free. Retryable.
    #[error("no loopback block is free for the sandbox; the last refusal was: {0}")]
    NoBlock(String),
    /// The block that a kept state was in is not free; its Services have addresses there. Retryable.
    #[error(
        "the state's addresses, 127.{block}.0.0/16, are not free: {cause}; end the sandbox that has them, \
         or give another --port"
    )]
    BlockTaken {
        /// The second number of the addresses.
        block: u8,
        /// The system's answer.
        cause: String,
    },
    /// The API's port could not be opened.
    #[error(transparent)]
    Port(#[from] PortFailure),
    /// One of the sandbox's own servers could not be bound. Retryable.
    #[error("{name} cannot listen on {address}:{port}: {cause}")]
    Bind {
        /// Which server.
        name: String,
        /// Its address.
        address: Ipv4Addr,
        /// Its port.
        port: u16,
        /// The system's answer.
        cause: std::io::Error,
    },
    /// The state file could not be used.
    #[error(transparent)]
    State(#[from] OpenFailure),
    /// A definition could not be installed. Terminal.
    #[error("a definition could not be installed: {0}")]
    Install(#[from] ApiFailure),
    /// A directory could not be made. Retryable.
    #[error("`{dir}` cannot be used: {cause}", dir = dir.display())]
    Dir {
        /// Which one.
        dir: PathBuf,
        /// The system's answer.
        cause: std::io::Error,
    },
}

/// The numbers of the sandbox's own servers in its block, with their ports.
const GIT: (u8, u16) = (2, 3000);
const REGISTRY: (u8, u16) = (3, 5000);
const PROMETHEUS: (u8, u16) = (4, 9090);
const GATEWAY: u8 = 5;
const PROXY_METRICS: (u8, u16) = (6, 9100);
const ARTIFACTS: u8 = 7;

/// How long pods, and then the rest, may take to end.
const END: Duration = Duration::from_secs(10);

/// A running sandbox.
pub struct Sandbox {
    server: ApiServer,
    context: Context,
    network: Network,
    /// Whether the sandbox's own servers have sockets beside the network in memory.
    open: bool,
    addresses: Arc<Addresses>,
    names: Arc<Names>,
    proxy: ProxyMetrics,
    git: GitServer,
    git_root: PathBuf,
    api_port: Option<ApiPort>,
    _lock: Option<TcpListener>,
    served: Mutex<Vec<Served>>,
    running: JoinSet<()>,
    supervisors: TaskTracker,
    background: CancellationToken,
}

impl Sandbox {
    /// Starts everything; returns once the API answers and the definitions are installed.
    pub async fn start(options: Options) -> Result<Self, StartFailure> {
        let before = match &options.state {
            Some(path) => block::before(path)?,
            None => None,
        };
        let block = if options.is_open() {
            block::reserve(options.api_port, before).await?
        } else {
            Block::IN_MEMORY
        };
        let addresses = Arc::new(Addresses::new(block.number));
        let clock = options.clock.clone();
        let now = clock.clone();
        let logs = Arc::new(Logs::new(clock.clone()));
        let api = weir_apiserver::Options {
            now: Arc::new(move || now.now()),
            seed: options.seed,
        };
        let tuning = Tuning {
            addresses: addresses.clone(),
            logs: Some(logs.clone()),
            ..Tuning::default()
        };
        let server = match &options.state {
            Some(path) => ApiServer::open(api, tuning, path)?,
            None => ApiServer::with(api, tuning),
        };
        block::keep(&server, block.number);
        let controls = control::router(Controls {
            clock: clock.clone(),
            tempo: options.tempo.clone(),
        });
        let api_port = match block.api {
            Some(listener) => Some(ApiPort::serve_with(server.clone(), controls, listener)?),
            None => None,
        };
        // Faults are for those who use the sandbox, not for its own parts.
        let sound = server.service().without_faults();
        let client = kube::Client::new(sound, "default");
        let stop = CancellationToken::new();
        let background = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(until(background.clone(), server.run_controllers()));

        // Names need the API's objects, and the HTTP seam needs the names.
        let caches = weir_runtime::Caches::new(client.clone(), stop.clone());
        let names = Arc::new(Names::new(&caches));
        let http = match &options.network {
            Network::Loopback => Http::system(Some(names.clone())),
            Network::Memory(net) => {
                net.resolve_by(names.clone());
                Http::new(net.clone())
            }
        };
        let context = Context::over(caches, client, http.clone(), clock.clone(), stop);
        install::install(&context).await?;

        let git_root = sub_dir(&options.dir, "git")?;
        let git_options = GitServerOptions {
            create_on_push: true,
            ..GitServerOptions::default()
        };
        let git = GitServer::new(&git_root, git_options);
        let registry = Registry::new(RegistryOptions::default());
        keeping::put_back(&server, &git_root, &registry);
        let scrape = ScrapeOptions {
            interval: options.scrape_interval,
            ..ScrapeOptions::default()
        };
        let prometheus = Prometheus::with_options(clock.clone(), http.clone(), scrape);
        let proxy = Arc::new(Proxy::new(&options.network, names.clone(), options.seed));
        if let Network::Memory(net) = &options.network {
            net.mesh_by(&proxy);
        }
        let metrics = proxy.metrics();
        let exported = metrics.clone();
        let exporter = axum::Router::new().route(
            "/metrics",
            axum::routing::get(move || async move { exported.exposition() }),
        );
        let mut sandbox = Self {
            server,
            context,
            network: options.network.clone(),
            open: options.is_open(),
            addresses: addresses.clone(),
            names,
            proxy: metrics,
            git: git.clone(),
            git_root,
            api_port,
            _lock: block.lock,
            served: Mutex::default(),
            running,
            supervisors: TaskTracker::new(),
            background,
        };
        sandbox
            .names
            .name("gateway.sandbox", addresses.own(GATEWAY));
        for (name, (number, port), router) in [
            ("git.sandbox", GIT, git.router()),
            ("registry.sandbox", REGISTRY, registry.router()),
            ("prometheus.sandbox", PROMETHEUS, prometheus.router()),
            ("proxy.sandbox", PROXY_METRICS, exporter),
        ] {
            sandbox.serve_at(name, number, port, router).await?;
        }
        let exporter = SocketAddrV4::new(addresses.own(PROXY_METRICS.0), PROXY_METRICS.1);
        prometheus.set_targets(scraped::targets(&sandbox.context, exporter));
        let (scraping, hooks) = (sandbox.background.clone(), sandbox.background.clone());
        sandbox.running.spawn(until(scraping, prometheus.run()));
        let context = sandbox.context.clone();
        sandbox.running.spawn(until(
            hooks,
            webhooks::run(context, git.pushes(), registry.pushes()),
        ));

        if options.state.is_some() {
            let keeping = keeping::run(
                sandbox.server.clone(),
                git.clone(),
                registry.clone(),
                git.pushes(),
                registry.pushes(),
            );
            let stopped = sandbox.background.clone();
            sandbox.running.spawn(until(stopped, keeping));
        }

        let node = Node {
            server: sandbox.server.clone(),
            api: sandbox.context.api.with_manager("kubelet"),
            events: sandbox.context.events.named("kubelet"),
            http,
            clock,
            network: options.network,
            addresses: addresses.clone(),
            images: Images::new(sandbox.http(), sub_dir(&options.dir, "images")?),
            logs,
            tracker: sandbox.supervisors.clone(),
        };
        sandbox.run(Kubelet::controller(&sandbox.context, Arc::new(node)));
        let plane = Plane::new(&sandbox.context, proxy.clone());
        let address = addresses.own(GATEWAY).into();
        let network = sandbox.network.clone();
        let gateways = gateway::controllers(&sandbox.context, &plane, &network, &proxy, address);
        for controller in gateways {
            sandbox.run(controller);
        }
        for controller in istio::controllers(&sandbox.context, &plane) {
            sandbox.run(controller);
        }
        if matches!(sandbox.network, Network::Loopback) {
            sandbox.run(ServicePorts::controller(
                &sandbox.context,
                sandbox.names.clone(),
                proxy,
            ));
        }
        Ok(sandbox)
    }

    fn run(&mut self, controller: Controller) {
        self.running.spawn(controller.run());
    }

    /// Ends pods, controllers and servers, and waits for their end.
    pub async fn stop(mut self) {
        // First what would make new pods; then the pods, while the kubelet still listens; then the
        // rest.
        self.background.cancel();
        // Pods end with the sandbox, but a state file goes on with them.
        self.server.close_file();
        let pods = self
            .context
            .caches
            .watch(WatchOf::projected(&POD, Projection::Text));
        for pod in pods.list() {
            // Deleted pods are ended by their supervisors as at any other time.
            let (key, policy) = (pod.key(), weir_runtime::Propagation::Background);
            let api = &self.context.api;
            let deleted = api.delete(&POD, &key, Some(pod.uid()), policy).await;
            if let Err(failure) = deleted {
                tracing::debug!(%failure, "a pod could not be deleted at the end");
            }
        }
        self.supervisors.close();
        if tokio::time::timeout(END, self.supervisors.wait())
            .await
            .is_err()
        {
            tracing::warn!("a pod did not end in time and was cut off");
        }
        self.context.stop.cancel();
        let ended = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(END, ended).await.is_err() {
            tracing::warn!("a part of the sandbox did not end in time and was cut off");
        }
    }

    /// The API itself.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// A client of the API, without sockets.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(self.server.service(), "default")
    }

    /// The network as the sandbox's inhabitants see it, names included.
    pub fn http(&self) -> Http {
        self.context.http.clone()
    }

    /// What the proxy did.
    pub fn proxy(&self) -> ProxyMetrics {
        self.proxy.clone()
    }

    /// The Git server.
    pub fn git(&self) -> &GitServer {
        &self.git
    }

    /// Where the Git server's repositories lie.
    pub fn git_root(&self) -> PathBuf {
        self.git_root.clone()
    }

    /// Serves one more router, under a name of the sandbox.
    pub async fn serve(
        &self,
        name: &str,
        port: u16,
        router: axum::Router,
    ) -> Result<(), StartFailure> {
        self.serve_at(name, ARTIFACTS, port, router).await
    }

    async fn serve_at(
        &self,
        name: &str,
        number: u8,
        port: u16,
        router: axum::Router,
    ) -> Result<(), StartFailure> {
        let address = self.addresses.own(number);
        let failed = |cause| StartFailure::Bind {
            name: name.to_owned(),
            address,
            port,
            cause,
        };
        let copy = router.clone();
        let served = self.network.serve(address.into(), port, router).await;
        let served = served.map_err(failed)?;
        self.names.name(name, address);
        let mut kept = vec![served];
        if let Network::Memory(net) = &self.network {
            net.resolve_by(self.names.clone());
            if self.open {
                let outside = Network::Loopback.serve(address.into(), port, copy).await;
                kept.push(outside.map_err(failed)?);
            }
        }
        self.served
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(kept);
        Ok(())
    }

    /// The URL of the gateway by name, for the sandbox's inhabitants.
    pub fn gateway_url(&self, port: u16) -> Result<Url, HandFailure> {
        let text = format!("http://gateway.sandbox:{port}/");
        Url::parse(&text).map_err(|_| HandFailure::Name(text))
    }

    /// The URL of the gateway by address, for other programs on this machine.
    pub fn gateway_address(&self, port: u16) -> String {
        format!("http://{}:{port}/", self.addresses.own(GATEWAY))
    }

    /// The URL of a repository by address.
    pub fn git_address(&self, repository: &str) -> String {
        format!(
            "http://{}:{}/{repository}",
            self.addresses.own(GIT.0),
            GIT.1
        )
    }

    /// The registry by address.
    pub fn registry_address(&self) -> String {
        format!("http://{}:{}", self.addresses.own(REGISTRY.0), REGISTRY.1)
    }

    /// Prometheus by address.
    pub fn prometheus_address(&self) -> String {
        format!(
            "http://{}:{}",
            self.addresses.own(PROMETHEUS.0),
            PROMETHEUS.1
        )
    }

    /// Applies the manifests of a file or a directory.
    pub async fn load(&self, path: &Path) -> Result<Loaded, ManifestFailure> {
        manifests::load(&self.context.api.with_manager("sandbox"), path).await
    }

    /// Writes the objects as manifests into a directory; says how many.
    pub fn dump(&self, dir: &Path) -> Result<usize, ManifestFailure> {
        let objects = self.server.dump();
        manifests::dump(objects.map(|object| Object((*object).clone())), dir)
    }

    /// The kubeconfig, where the API has a port. It holds a token.
    pub fn kubeconfig(&self) -> Option<Secret> {
        self.api_port.as_ref().map(ApiPort::kubeconfig)
    }

    /// Writes the kubeconfig into a directory, readable by its owner alone; says where.
    pub fn write_kubeconfig(&self, dir: &Path) -> std::io::Result<PathBuf> {
        let path = dir.join("kubeconfig");
        self.write_kubeconfig_to(&path)?;
        Ok(path)
    }

    /// Writes the kubeconfig to a file, readable by its owner alone.
    pub fn write_kubeconfig_to(&self, path: &Path) -> std::io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let text = self
            .kubeconfig()
            .ok_or_else(|| std::io::Error::other("the API has no port"))?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.expose().as_bytes())
    }

    /// The API as the sandbox's own parts see it.
    pub(crate) fn api(&self) -> &weir_runtime::ApiClient {
        &self.context.api
    }

    /// The time in the sandbox.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.context.clock.now()
    }
}

/// Runs a part until it ends or everything does.
async fn until(stop: CancellationToken, part: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = part => {}
    }
}

fn sub_dir(dir: &Path, name: &str) -> Result<PathBuf, StartFailure> {
    let dir = dir.join(name);
    match std::fs::create_dir_all(&dir) {
        Ok(()) => Ok(dir),
        Err(cause) => Err(StartFailure::Dir { dir, cause }),
    }
}
