package prepare

import (
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdRegistry is "registry [USER:PASSWORD]": starts a registry on loopback;
// $REGISTRY is its address.
func cmdRegistry(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	h := registry.New()
	if len(args) == 1 {
		inner := h
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			if user+":"+password != args[0] {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			inner.ServeHTTP(w, r)
		})
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	ts.Defer(func() { s.Close() })
	ts.Setenv("REGISTRY", l.Addr().String())
}
