//! The same of Socket.IO.

use super::{HANDSHAKE, Made, On, Recipe, recipe};

const PATH: &str = "/socket.io/";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

pub fn all(made: &Made) -> Vec<Recipe> {
    let get =
        |status, target: &str, headers: &str| recipe("GET", PATH, status, target, headers, "");
    let [spoken, slow, large] = &made.sessions;
    let post = |status, sid: &str, headers: &str, body: &str| {
        let target = format!("{POLLING}&sid={sid}");
        recipe("POST", PATH, status, &target, headers, body)
    };
    let endless = format!(
        "POST {POLLING}&sid={slow} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nx"
    );
    vec![
        get(200, POLLING, ""),
        get(400, "/socket.io/?EIO=3&transport=polling", ""),
        get(400, WEBSOCKET, ""),
        get(101, WEBSOCKET, HANDSHAKE),
        get(426, WEBSOCKET, &HANDSHAKE.replace("13", "8")),
        get(200, POLLING, "").on(On::Locked),
        get(429, POLLING, "").on(On::Locked),
        recipe("HEAD", PATH, 200, POLLING, "", ""),
        recipe("HEAD", PATH, 400, "/socket.io/?EIO=4", "", ""),
        post(200, spoken, "", "3"),
        post(400, spoken, "", "0"),
        post(400, "nobody", "", "3"),
        post(415, spoken, "content-encoding: gzip\r\n", "3"),
        post(413, large, "", &"4".repeat(6 * 1024 + 4097)),
        Recipe {
            request: endless,
            ..post(408, slow, "", "")
        },
    ]
}
