// Command defaults writes crates/schema/tests/corpus/defaults.jsonl: objects as people write them,
// and the same objects with the defaults that the API server fills in.
//
//	go run . ../../../crates/schema/tests/corpus/defaults.jsonl < objects.jsonl
package main

import (
	"bufio"
	"encoding/json"
	"os"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	_ "k8s.io/kubernetes/pkg/apis/batch/install"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/discovery/install"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	_ "k8s.io/kubernetes/pkg/apis/scheduling/install"
	_ "k8s.io/kubernetes/pkg/apis/storage/install"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	out, err := os.Create(os.Args[1])
	check(err)
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Bytes()
		if len(line) == 0 {
			continue
		}
		meta := runtime.TypeMeta{}
		check(json.Unmarshal(line, &meta))
		o, err := legacyscheme.Scheme.New(meta.GroupVersionKind())
		check(err)
		check(json.Unmarshal(line, o))
		legacyscheme.Scheme.Default(o)
		// Through the internal form and back, as storing does.
		internal, err := legacyscheme.Scheme.ConvertToVersion(o, runtime.InternalGroupVersioner)
		check(err)
		o, err = legacyscheme.Scheme.ConvertToVersion(internal, meta.GroupVersionKind().GroupVersion())
		check(err)
		// A counter that only daemon sets from long ago have use for.
		if a, err := apimeta.Accessor(o); err == nil && a.GetAnnotations()["deprecated.daemonset.template.generation"] == "0" {
			a.SetAnnotations(nil)
		}
		raw, err := json.Marshal(o)
		check(err)
		row, err := json.Marshal(map[string]json.RawMessage{"object": line, "want": raw})
		check(err)
		_, err = out.Write(append(row, '\n'))
		check(err)
	}
	check(in.Err())
	check(out.Close())
}
