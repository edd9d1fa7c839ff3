//! Surroundings that are wrong on purpose.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::support::world::World;

/// A small ecosystem whose sides have met.
pub fn ready(place: &tempfile::TempDir) -> World {
    let world = World::build(&place.path().join("world"));
    world.cathedral(&["sync"]).expect(0);
    world
}

/// Moves the mirrored repository to another address.
pub fn with_mind_at(world: &World, url: &str) {
    let text = fs::read_to_string(world.config()).unwrap();
    let there = "url: ../spokes/mind.git";
    assert!(text.contains(there));
    fs::write(world.config(), text.replace(there, &format!("url: {url}"))).unwrap();
}

/// A port nobody listens at.
pub fn unused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that wants other credentials, whatever it is given. It ends with the test.
pub fn http_that_denies() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}
