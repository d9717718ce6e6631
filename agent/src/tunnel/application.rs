//! The last step of every inbound connection: to the pod's application, which sees the client's address.

use std::{net::SocketAddr, rc::Rc};

use culvert_policy::{Reason, Transport};

use super::{dial, enrolled::Enrolled, failure::Failure, leg::Tcp};

/// Authorise, connect; with the reason for which the client is let in.
pub(super) async fn reach(
    enrolled: &Rc<Enrolled>,
    by: Transport,
    target: SocketAddr,
    client: SocketAddr,
) -> Result<(Reason, Tcp, Announced), Failure> {
    let reason = enrolled.context.decide.admit(&enrolled.pod, by, target.port())?;
    let (socket, agent) =
        dial::app_socket(&enrolled.netns, target.ip()).map_err(|error| dial::exhausted(&error))?;
    let announced = Announced::new(enrolled, agent, client)?;
    let app = dial::connect(socket, target).await.map_err(|error| {
        Failure::new(
            Reason::AppUnreachable,
            format_args!("connecting to the application at {target}: {error}"),
        )
    })?;
    Ok((reason, Tcp::new(app), announced))
}

/// For as long as this lives, the application sees the client's address, not the agent's.
pub(super) struct Announced {
    enrolled: Rc<Enrolled>,
    agent: SocketAddr,
}

impl Announced {
    fn new(enrolled: &Rc<Enrolled>, agent: SocketAddr, client: SocketAddr) -> Result<Self, Failure> {
        let kernel = &enrolled.context.kernel;
        kernel.announce_client(enrolled.netns.cookie(), agent, client).map_err(|error| {
            Failure::new(Reason::OutOfResources, format_args!("announcing the client to the kernel: {error}"))
        })?;
        Ok(Self { enrolled: Rc::clone(enrolled), agent })
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.enrolled.context.kernel.withdraw_client(self.enrolled.netns.cookie(), self.agent);
    }
}
