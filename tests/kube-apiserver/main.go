// Runs kube-apiserver or etcd, for tests alone: `kube-apiserver etcd [flags]` and
// `kube-apiserver kube-apiserver [flags]` take the flags of the real programs. Ends at once when its
// standard input closes, so that a test that is killed leaves no server behind.
package main

import (
	"fmt"
	"io"
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() {
	if len(os.Args) < 2 {
		refuse()
	}
	program := os.Args[1]
	os.Args = os.Args[1:]
	go endWithStdin()
	switch program {
	case "etcd":
		etcdmain.Main(os.Args)
	case "kube-apiserver":
		os.Exit(cli.Run(app.NewAPIServerCommand()))
	default:
		refuse()
	}
}

func endWithStdin() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(1)
}

func refuse() {
	fmt.Fprintln(os.Stderr, "the first argument is etcd or kube-apiserver")
	os.Exit(2)
}
