//! The layers of a listener from its configuration: TLS or DTLS, and PROXY protocol.

use std::sync::Arc;

use tercet_net::dtls::{DtlsServerSettings, ReloadableDtlsServerConfig};
use tercet_net::proxy_protocol::{Cidr, TrustedProxies, Versions};
use tercet_net::tls::{self, MinimumVersion, ReloadableServerConfig, ServerSettings, TlsConfigError};

use crate::config::{ClientAuth, Listener, Protocol, ProxyProtocol, Tls, TlsVersion};
use crate::mqtt::settings::Layers;

/// Loads what a listener needs. The TLS configuration of a running listener is replaced in place, so that open
/// connections stand and new ones get the new certificate.
pub fn load(listener: &Listener, running: Option<&Layers>) -> Result<Layers, TlsConfigError> {
    if listener.protocol.is_datagrams() {
        let dtls = load_dtls(listener, running.and_then(|layers| layers.dtls.as_ref()))?;
        return Ok(Layers { dtls, ..Layers::default() });
    }
    let tls = match (&listener.tls, running.and_then(|layers| layers.tls.as_ref())) {
        (None, _) => None,
        (Some(tls), None) => {
            Some(Arc::new(ReloadableServerConfig::load(tls_settings(tls, listener.protocol))?))
        }
        (Some(tls), Some(current)) => {
            current.replace(tls_settings(tls, listener.protocol))?;
            Some(Arc::clone(current))
        }
    };
    let trusted = listener.proxy_trusted.iter().map(|net| net.parts());
    let trusted = trusted.filter_map(|(address, prefix)| Cidr::new(address, prefix));
    let versions = match listener.proxy_protocol {
        ProxyProtocol::Off => None,
        ProxyProtocol::V1 => Some(Versions::V1),
        ProxyProtocol::V2 => Some(Versions::V2),
        ProxyProtocol::Both => Some(Versions::Both),
    };
    let proxy = versions.map(|versions| TrustedProxies::new(trusted.collect()).speaking(versions));
    Ok(Layers { tls, proxy, dtls: None })
}

/// Like TLS, DTLS of a running listener is replaced in place.
fn load_dtls(
    listener: &Listener,
    running: Option<&Arc<ReloadableDtlsServerConfig>>,
) -> Result<Option<Arc<ReloadableDtlsServerConfig>>, TlsConfigError> {
    if !listener.is_encrypted() {
        return Ok(None);
    }
    let tls = listener.tls.as_ref();
    let settings = DtlsServerSettings {
        psk_file: listener.psk_file.clone(),
        certificate: tls.map(|tls| (tls.cert.clone(), tls.key.clone())),
        // There is no asking without insisting in DTLS here.
        client_ca: tls.filter(|tls| tls.client_auth != ClientAuth::Off).and_then(|tls| tls.client_ca.clone()),
    };
    let put_in_force = |settings| match running {
        None => ReloadableDtlsServerConfig::load(settings).map(Arc::new),
        Some(current) => current.replace(settings).map(|()| Arc::clone(current)),
    };
    match put_in_force(settings.clone()) {
        // What TLS can use DTLS may be unable to; the keys do without.
        Err(error) if settings.psk_file.is_some() && settings.certificate.is_some() => {
            let keys = DtlsServerSettings { certificate: None, client_ca: None, ..settings };
            let config = put_in_force(keys).map_err(|_| error.clone())?;
            tracing::warn!(listener = %listener.name, %error, "no certificate for DTLS: only keys are taken");
            Ok(Some(config))
        }
        other => other.map(Some),
    }
}

fn tls_settings(tls: &Tls, protocol: Protocol) -> ServerSettings {
    let ca = tls.client_ca.clone().unwrap_or_default();
    let alpn = if tls.alpn.is_empty() {
        match protocol {
            Protocol::Mqtt => vec![b"mqtt".to_vec()],
            Protocol::Amqp => vec![b"amqp".to_vec()],
            // RFC 8323 §8.2.
            Protocol::Coap | Protocol::CoapTcp => vec![b"coap".to_vec()],
            Protocol::Http | Protocol::Ws => vec![b"http/1.1".to_vec()],
        }
    } else {
        tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
    };
    ServerSettings {
        client_auth: match tls.client_auth {
            ClientAuth::Off => tls::ClientAuth::Off,
            ClientAuth::Optional => tls::ClientAuth::Optional { ca },
            ClientAuth::Required => tls::ClientAuth::Required { ca },
        },
        alpn,
        minimum_version: match tls.min_version {
            TlsVersion::V1_2 => MinimumVersion::Tls12,
            TlsVersion::V1_3 => MinimumVersion::Tls13,
        },
        ..ServerSettings::new(&tls.cert, &tls.key)
    }
}
