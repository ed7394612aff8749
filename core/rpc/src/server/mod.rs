//! The server stack: see [`Server`].

mod body;
mod dispatch;
mod listen;
mod metrics;
mod options;
mod routes;
mod shape;
mod stack;
mod unary;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use connectrpc::{ConnectRpcService, DeadlinePolicy, Limits, Router};
use lombard_telemetry::Registry;
use tokio::net::TcpListener;

use self::dispatch::Guarded;
use self::metrics::ServerMetrics;
use self::routes::Routes;
use self::stack::Stack;
use self::unary::Unary;
use crate::Random;

pub use self::listen::{Drained, Serving};
pub use self::options::ServerOptions;
pub use self::routes::Readiness;

/// One service's server: its router with everything that all services have around it.
///
/// Speaks HTTP/1.1 and HTTP/2 (prior knowledge) on one port; Connect, gRPC and
/// gRPC-Web. Beside the calls it answers `GET /`, `/health`, `/ready`, `/metrics` and
/// `/descriptor.bin`.
pub struct Server {
    service: &'static str,
    router: Router,
    options: ServerOptions,
    random: Random,
    registry: Registry,
    more_registries: Vec<Registry>,
    readiness: Readiness,
    starting: bool,
}

impl Server {
    /// A server for a service, e.g. "ledger". The stack's counters go into `registry`.
    pub fn new(
        service: &'static str,
        router: Router,
        options: ServerOptions,
        registry: Registry,
        random: Random,
    ) -> Self {
        Self {
            service,
            router,
            options,
            random,
            registry,
            more_registries: Vec::new(),
            readiness: Arc::new(|| Ok(())),
            starting: false,
        }
    }

    /// A server that stands in for one that is starting: every call is refused as
    /// unavailable, with what [`Self::readiness`] says.
    #[must_use]
    pub fn starting(mut self) -> Self {
        self.starting = true;
        self
    }

    /// What `/ready` asks.
    #[must_use]
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Metrics of the process that `/metrics` shows beside the service's own.
    #[must_use]
    pub fn also_show(mut self, registry: Registry) -> Self {
        self.more_registries.push(registry);
        self
    }

    /// Starts serving on a bound listener.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn serve(self, listener: TcpListener) -> std::io::Result<Serving> {
        let Self {
            service,
            router,
            options,
            random,
            registry,
            more_registries,
            readiness,
            starting,
        } = self;
        let mut methods: Vec<String> = router.methods().map(str::to_owned).collect();
        methods.sort_unstable();
        let metrics = Arc::new(ServerMetrics::new(&registry, &router));
        let guarded = Guarded::new(service, router, Arc::clone(&metrics), random);
        let limits = Limits::default()
            .with_max_request_body_size(options.max_request_bytes)
            .with_max_message_size(options.max_request_bytes);
        let default_timeout = Duration::from_millis(options.default_timeout_ms);
        let max_timeout = Duration::from_millis(options.max_timeout_ms);
        let deadlines = DeadlinePolicy::new()
            .with_default_timeout(default_timeout.min(max_timeout))
            .with_max(max_timeout);
        let unary = Unary {
            guarded: guarded.clone(),
            default_timeout,
            max_timeout,
            max_request_bytes: options.max_request_bytes,
            decode_options: limits.decode_options(),
        };
        let rpc = ConnectRpcService::new(guarded.clone())
            .with_limits(limits)
            .with_deadline_policy(deadlines);
        let mut registries = vec![registry];
        registries.extend(more_registries);
        let stack = Arc::new(Stack {
            routes: Routes {
                service,
                methods,
                readiness,
                registries,
                metrics: Arc::clone(&metrics),
            },
            unary: Arc::new(unary),
            rpc,
            guarded,
            metrics,
            max_concurrent_calls: options.max_concurrent_calls,
            max_request_bytes: options.max_request_bytes,
            draining: AtomicBool::new(false),
            starting,
        });
        Serving::start(listener, stack, options)
    }
}
