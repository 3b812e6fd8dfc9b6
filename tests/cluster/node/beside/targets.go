// The pods that want to be scraped, as Prometheus's HTTP discovery asks for them. Debian's Prometheus is built without
// Kubernetes discovery; the labels here have that one's names, so that rules for it work unchanged.
// A pod is listed once, at the port its annotation names, while it has an address and is not over.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

var outsideLabel = regexp.MustCompile(`[^a-zA-Z0-9_]`)

func serveTargets(args []string) error {
	flags := flag.NewFlagSet("targets", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that says how to reach the API server")
	listen := flags.String("listen", "127.0.0.1:9091", "address and port")
	_ = flags.Parse(args)

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read the kubeconfig %s: %w", *kubeconfig, err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	watch := informers.NewSharedInformerFactory(client, 0)
	pods := watch.Core().V1().Pods().Lister()
	watch.Start(nil)
	watch.WaitForCacheSync(nil)
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("serving", *listen)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all, err := pods.List(labels.Everything())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(scraped(all))
	}))
}

func scraped(pods []*core.Pod) []group {
	groups := []group{}
	for _, pod := range pods {
		over := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if over || pod.Status.PodIP == "" || pod.Annotations["prometheus.io/scrape"] != "true" {
			continue
		}
		port := cmp.Or(pod.Annotations["prometheus.io/port"], "80")
		described := map[string]string{
			"__meta_kubernetes_namespace": pod.Namespace,
			"__meta_kubernetes_pod_name":  pod.Name,
			"__meta_kubernetes_pod_ip":    pod.Status.PodIP,
			"__metrics_path__":            cmp.Or(pod.Annotations["prometheus.io/path"], "/metrics"),
		}
		for key, value := range pod.Labels {
			described["__meta_kubernetes_pod_label_"+outsideLabel.ReplaceAllString(key, "_")] = value
		}
		groups = append(groups, group{Targets: []string{net.JoinHostPort(pod.Status.PodIP, port)}, Labels: described})
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(a.Targets[0], b.Targets[0]) })
	return groups
}
