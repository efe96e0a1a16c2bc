package meteringtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"sync"
)

// signingKey returns a product's private key, and makes it when first called.
type signingKey func() *rsa.PrivateKey

func newSigningKey() signingKey {
	return sync.OnceValue(func() *rsa.PrivateKey {
		key, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			panic(fmt.Sprintf("meteringtest: making an RSA key: %v", err))
		}
		return key
	})
}

func publicKeyPEM(key *rsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(fmt.Sprintf("meteringtest: encoding an RSA key: %v", err))
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// claims are what RegisterUsage signs, spelled as AWS's own verifier reads
// them. There is no exp: the nonce is what makes a signature fresh.
type claims struct {
	ProductCode      string `json:"productCode"`
	PublicKeyVersion int64  `json:"publicKeyVersion"`
	Nonce            string `json:"nonce,omitempty"`
	Iat              int64  `json:"iat"` // Unix seconds
}

// signJWT returns the claims as a JWT signed with PS256 (RFC 7518, 3.5), whose
// salt is as long as its hash.
func signJWT(key *rsa.PrivateKey, c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64([]byte(`{"alg":"PS256","typ":"JWT"}`)) + "." + b64(payload)
	hash := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, hash[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", err
	}
	return signed + "." + b64(sig), nil
}
