//! Many connections that do nothing. Ten thousand need more files than one process may have that plays both applications
//! and both agents.

use super::fixture::{Mesh, many_files, ping, soon};

#[tokio::test]
async fn thousands_of_idle_connections_are_held() {
    const CONNECTIONS: usize = 2_000;
    many_files();
    let mesh = Mesh::new();
    let (listener, address) = mesh.app().await;
    let (mut clients, mut servers) = (Vec::new(), Vec::new());
    while clients.len() < CONNECTIONS {
        clients.push(mesh.connect(address).await);
        servers.push(soon(listener.accept()).await.unwrap().0);
    }
    for (client, server) in clients.iter_mut().zip(&mut servers) {
        ping(client, server).await;
    }
}
