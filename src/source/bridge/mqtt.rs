//! MQTT 3.1.1: `mqtt://[USER:PASSWORD@]HOST:PORT?filter=a/%23`, `mqtts://` over TLS (`&cacert=FILE` names the CA to trust).
//!
//! With `&client=ID` the broker keeps for this client what it was not told to have arrived (QoS 1, a session that outlives
//! the connection); without one, each message comes once or not (QoS 0). The crate knows the packets; connection,
//! keeping alive and acknowledging are here, since nothing may be acknowledged before it is in the log.

use std::collections::VecDeque;

use bytes::BytesMut;
use futures_util::future::{BoxFuture, FutureExt};
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe,
    SubscribeReasonCode,
};
use rumqttc::mqttbytes::{self, QoS};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use super::asked::Asked;
use super::line::{Duplex, Place};
use super::{
    Arrival, Bridge, Fault, LOOK, Message, Names, Opened, Promise, Receipt, Settled, Subscribed,
    What,
};
use crate::greeting::MQTT;

/// The most that a packet may have, by its own definition: what is too large is told and acknowledged, so it has to be read.
const MOST: usize = 268_435_455 + 5;

struct Mqtt {
    place: Place,
    who: Option<(String, String)>,
    filter: String,
    client: Option<String>,
}

pub(super) fn open(asked: &mut Asked) -> Opened {
    let (filter, client) = (asked.need("filter"), asked.take("client"));
    if !filter.is_empty() && !mqttbytes::valid_filter(&filter) {
        asked.wrong("filter= is none: + stands for one level, # (%23 in a URL) for the rest");
    }
    let what = What {
        shown: filter.clone(),
        names: match filter.contains(['+', '#']) {
            true => Names::Like(filter.clone()),
            false => Names::Only(filter.clone()),
        },
    };
    let bridge = Mqtt {
        place: Place::of(asked, (1883, 8883)),
        who: asked.who(),
        filter,
        client,
    };
    Opened {
        what,
        bridge: Box::new(bridge),
    }
}

impl Bridge for Mqtt {
    fn promise(&self) -> Promise {
        match self.client {
            Some(_) => Promise::AtLeastOnce,
            None => Promise::AtMostOnce,
        }
    }

    fn subscribe(&self) -> BoxFuture<'_, Result<Box<dyn Subscribed>, Fault>> {
        async {
            let session = self.place.judged(MQTT, self.begin()).await?;
            Ok(Box::new(session) as Box<dyn Subscribed>)
        }
        .boxed()
    }
}

impl Mqtt {
    /// A session that is subscribed; or why not, and whether it was a broker that said it.
    async fn begin(&self) -> Result<Session, (Fault, bool)> {
        let unheard = |fault| (fault, false);
        let heard = |fault| (fault, true);
        let mut session = Session::on(self.place.connect().await.map_err(unheard)?);
        session.write(&self.hello()).map_err(unheard)?;
        session.flush().await.map_err(unheard)?;
        match session.receive().await.map_err(unheard)? {
            Packet::ConnAck(ConnAck {
                code: ConnectReturnCode::Success,
                ..
            }) => {}
            Packet::ConnAck(refused) => return Err(heard(refusal(refused.code))),
            _ => {
                let words = "it does not answer as an MQTT broker does";
                return Err(unheard(Fault::new(words)));
            }
        }
        let qos = match self.promise() {
            Promise::AtMostOnce => QoS::AtMostOnce,
            Promise::AtLeastOnce => QoS::AtLeastOnce,
        };
        let mut subscribe = Subscribe::new(&*self.filter, qos);
        subscribe.pkid = 1;
        session
            .write(&Packet::Subscribe(subscribe))
            .map_err(heard)?;
        session.flush().await.map_err(heard)?;
        loop {
            match session.receive().await.map_err(heard)? {
                // It may have kept some from before.
                Packet::Publish(publish) => session.early.push_back(publish),
                Packet::SubAck(SubAck { return_codes, .. }) => match &*return_codes {
                    [SubscribeReasonCode::Success(_)] => return Ok(session),
                    _ => return Err(heard(Fault::new("it refuses this filter to this user"))),
                },
                _ => {}
            }
        }
    }

    fn hello(&self) -> Packet {
        let (id, is_new) = match &self.client {
            Some(client) => (client.clone(), false),
            None => (format!("triwire-{:015x}", fastrand::u64(..) >> 4), true),
        };
        let mut hello = Connect::new(id);
        // It may take a while until somebody looks again: what is published is waited for.
        hello.keep_alive = 4 * LOOK.as_secs() as u16;
        hello.clean_session = is_new;
        if let Some((user, password)) = &self.who {
            hello.set_login(user, password);
        }
        Packet::Connect(hello)
    }
}

fn refusal(code: ConnectReturnCode) -> Fault {
    Fault::new(match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
            "it does not take this user and password"
        }
        ConnectReturnCode::BadClientId => "it does not take this client=",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        _ => "it says that it is not available",
    })
}

struct Session {
    line: Box<dyn Duplex>,
    read: BytesMut,
    written: BytesMut,
    /// What came before the subscription was confirmed.
    early: VecDeque<Publish>,
    looks: Interval,
    /// Whether it was asked if it is there, and has said nothing since.
    is_asked: bool,
}

/// Whoever waits no more for any of these has lost nothing.
impl Session {
    fn on(line: Box<dyn Duplex>) -> Session {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Session {
            line,
            read: BytesMut::new(),
            written: BytesMut::new(),
            early: VecDeque::new(),
            looks,
            is_asked: false,
        }
    }

    fn write(&mut self, packet: &Packet) -> Result<(), Fault> {
        let written = packet.write(&mut self.written, MOST);
        written.map(drop).map_err(Fault::new)
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        while !self.written.is_empty() {
            let count = self.line.write_buf(&mut self.written).await;
            if count.map_err(Fault::new)? == 0 {
                return Err(Fault::new("it has closed the connection"));
            }
        }
        self.line.flush().await.map_err(Fault::new)
    }

    async fn receive(&mut self) -> Result<Packet, Fault> {
        loop {
            match Packet::read(&mut self.read, MOST) {
                Ok(packet) => {
                    self.is_asked = false;
                    return Ok(packet);
                }
                Err(mqttbytes::Error::InsufficientBytes(_)) => {}
                Err(error) => return Err(Fault::new(format!("it sent no MQTT: {error}"))),
            }
            let count = self.line.read_buf(&mut self.read).await;
            if count.map_err(Fault::new)? == 0 {
                return Err(Fault::new("it has closed the connection"));
            }
        }
    }

    async fn published(&mut self) -> Result<Publish, Fault> {
        loop {
            if let Some(publish) = self.early.pop_front() {
                return Ok(publish);
            }
            if let Packet::Publish(publish) = self.receive().await? {
                return Ok(publish);
            }
        }
    }

    /// A peer that is gone is as silent as one that has nothing to say.
    fn look(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.is_asked, true) {
            return Err(Fault::new("it does not answer any more"));
        }
        self.write(&Packet::PingReq)
    }
}

impl Subscribed for Session {
    fn next(&mut self) -> BoxFuture<'_, Result<Arrival, Fault>> {
        async {
            loop {
                self.flush().await?;
                // When it is due: nothing is waited for with both hands.
                let is_due = self.looks.tick().now_or_never().is_some();
                if is_due {
                    self.look()?;
                    continue;
                }
                let wait = timeout(LOOK, self.published());
                if let Ok(publish) = wait.await {
                    let publish = publish?;
                    return Ok(Arrival::Message(Message {
                        name: publish.topic,
                        bytes: publish.payload,
                        key: None,
                        receipt: publish.pkid.into(),
                    }));
                }
            }
        }
        .boxed()
    }

    fn settle(&mut self, receipt: Receipt, _: Settled) -> BoxFuture<'_, Result<(), Fault>> {
        async move {
            match u16::try_from(receipt) {
                Ok(pkid @ 1..) => {
                    self.write(&Packet::PubAck(PubAck::new(pkid)))?;
                    self.flush().await
                }
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
