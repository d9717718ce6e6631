//! Many connections, some of them at once.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener as Listener},
    ops::Range,
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime, select,
    task::JoinSet,
    time::{Duration, timeout},
};

use super::{Abort, End, Plan, client::client, server::server};
use crate::{DEADLINE, Place, SocketSpec};

/// A connection that has been.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// What it was.
    pub plan: Plan,
    /// The client's address.
    pub source: SocketAddr,
}

/// Makes the connections of these numbers from a place to an address that leads to a listener, fifty at a time, until
/// each has ended as planned. What any application finds that should not be is the error.
pub fn hold(
    numbers: Range<u32>,
    from: &Place,
    to: SocketAddr,
    listener: Listener,
    of_client: Abort,
) -> Result<Vec<Held>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let mut servers = Servers::new(TcpListener::from_std(listener)?, of_client);
        let clients = stream::iter(numbers).map(|number| hold_one(Plan::new(number), from, to));
        let clients = clients.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>();
        let held = select! {
            biased;
            failed = servers.serve() => match failed? {},
            held = clients => held?,
        };
        servers.check(&held).await?;
        Ok(held)
    })
}

const AT_ONCE: usize = 50;
/// For one connection, on a wire that loses packets and among many; it decides nothing else.
const PATIENCE: Duration = DEADLINE.saturating_mul(2);

async fn hold_one(plan: Plan, from: &Place, to: SocketAddr) -> Result<Held> {
    let talk = async {
        let stream = TcpStream::from_std(from.start_connect(to, SocketSpec::default())?.into())?;
        stream.writable().await?;
        stream.take_error()?.map_or(Ok(()), Err)?;
        let source = stream.local_addr()?;
        client(stream, plan).await?;
        Ok(Held { plan, source })
    };
    let held = timeout(PATIENCE, talk).await.context("it does not end").flatten();
    held.with_context(|| format!("the client of {plan:?}"))
}

struct Servers {
    listener: TcpListener,
    of_client: Abort,
    under_way: JoinSet<Result<Option<Plan>>>,
    served: Vec<Plan>,
}

impl Servers {
    fn new(listener: TcpListener, of_client: Abort) -> Self {
        Self { listener, of_client, under_way: JoinSet::new(), served: Vec::new() }
    }

    /// Serves who connects until one of them fails.
    async fn serve(&mut self) -> Result<Infallible> {
        loop {
            select! {
                accepted = self.listener.accept() => {
                    let server = timeout(PATIENCE, server(accepted?.0, self.of_client));
                    self.under_way.spawn(async { server.await.context("a server does not end").flatten() });
                }
                Some(served) = self.under_way.join_next() => self.served.extend(served??),
            }
        }
    }

    /// Waits for those under way, and checks that each connection was served once that had to be.
    async fn check(mut self, held: &[Held]) -> Result<()> {
        while let Some(served) = self.under_way.join_next().await {
            self.served.extend(served??);
        }
        let (served, held) = (numbers(self.served.into_iter()), numbers(held.iter().map(|held| held.plan)));
        ensure!(served == held, "served were {served:?}, and held were {held:?}");
        Ok(())
    }
}

/// Of those that a server must have heard of.
fn numbers(plans: impl Iterator<Item = Plan>) -> Vec<u32> {
    let heard_of = plans.filter(|plan| plan.end != End::ClientAbortsAtOnce);
    let mut numbers: Vec<_> = heard_of.map(|plan| plan.number).collect();
    numbers.sort_unstable();
    numbers
}
