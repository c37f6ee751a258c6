//! Certificates for servers that encrypt, and the authority that signs them.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SignatureAlgorithm,
};

/// Somebody who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate and its key, in PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// One that signs with this algorithm.
    pub(crate) fn new(algorithm: &'static SignatureAlgorithm) -> Self {
        let key = KeyPair::generate_for(algorithm).expect("a key of a known kind");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are fine");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        let certificate = params.self_signed(&key).expect("it has the key");
        let pem = certificate.pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// What `sslrootcert` names.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for this host.
    pub(crate) fn sign(&self, host: &str) -> Identity {
        let key = KeyPair::generate().expect("a key of the usual kind");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer);
        Identity {
            certificate: certificate.expect("the authority has its key").pem(),
            key: key.serialize_pem(),
        }
    }
}
