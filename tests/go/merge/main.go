// Command merge writes crates/merge/tests/corpus: sequences of applies and updates by several
// managers on built-in and custom objects, with the object and managed fields that the API
// server's own field manager answers, and pairs of objects and strategic merge patches with their
// outcome.
//
//	go run . ../../../crates/merge/tests/corpus
//
// It is seeded, so the same program writes the same files.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

type object = map[string]any

// step is one write and what came of it. The object is the configuration of an apply, or the new
// version for an update.
type step struct {
	Op          string `json:"op"`
	Manager     string `json:"manager"`
	Subresource string `json:"subresource,omitempty"`
	Force       bool   `json:"force,omitempty"`
	Now         string `json:"now"`
	Object      object `json:"object"`
	Want        object `json:"want,omitempty"`
	Conflict    string `json:"conflict,omitempty"`
	Invalid     string `json:"invalid,omitempty"`
}

type sequence struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Live  object `json:"live,omitempty"`
	Steps []step `json:"steps"`
}

type identity struct{}

func (identity) Convert(in, out, context any) error { return fmt.Errorf("not supported") }
func (identity) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}
func (identity) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", fmt.Errorf("not supported")
}
func (identity) Default(runtime.Object) {}

type typedCreater struct{}

func (typedCreater) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	o, err := scheme.Scheme.New(kind)
	if err == nil {
		o.GetObjectKind().SetGroupVersionKind(kind)
	}
	return o, err
}

type openCreater struct{}

func (openCreater) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(kind)
	return u, nil
}

// world is one kind with its field managers by subresource.
type world struct {
	kind     schema.GroupVersionKind
	typed    bool
	creater  runtime.ObjectCreater
	managers map[string]*managedfields.FieldManager
	build    func(*rand.Rand) object
	status   func(*rand.Rand) object
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func newWorld(kind schema.GroupVersionKind, typed bool, converter managedfields.TypeConverter, build, status func(*rand.Rand) object) *world {
	w := &world{kind: kind, typed: typed, build: build, status: status, managers: map[string]*managedfields.FieldManager{}}
	if typed {
		w.creater = typedCreater{}
	} else {
		w.creater = openCreater{}
	}
	for sub, ignored := range map[string]string{"": "status", "status": "spec"} {
		if status == nil && sub != "" {
			continue
		}
		var reset map[fieldpath.APIVersion]fieldpath.Filter
		if status != nil {
			reset = fieldpath.NewExcludeFilterSetMap(map[fieldpath.APIVersion]*fieldpath.Set{
				fieldpath.APIVersion(kind.GroupVersion().String()): fieldpath.NewSet(fieldpath.MakePathOrDie(ignored)),
			})
		}
		make := managedfields.NewDefaultFieldManager
		if !typed {
			make = managedfields.NewDefaultCRDFieldManager
		}
		fm, err := make(converter, identity{}, identity{}, w.creater, kind, kind.GroupVersion(), sub, reset)
		check(err)
		w.managers[sub] = fm
	}
	return w
}

func (w *world) empty() runtime.Object {
	o, err := w.creater.New(w.kind)
	check(err)
	return o
}

func (w *world) decode(o object) runtime.Object {
	if o == nil {
		return w.empty()
	}
	raw, err := json.Marshal(o)
	check(err)
	if !w.typed {
		u := &unstructured.Unstructured{}
		check(u.UnmarshalJSON(raw))
		return u
	}
	out := w.empty()
	check(json.Unmarshal(raw, out))
	return out
}

func encode(o runtime.Object) object {
	raw, err := json.Marshal(o)
	check(err)
	out := object{}
	check(json.Unmarshal(raw, &out))
	return out
}

func copyOf(o object) object {
	raw, err := json.Marshal(o)
	check(err)
	out := object{}
	check(json.Unmarshal(raw, &out))
	return out
}

func at(second int) string {
	return time.Date(2024, 1, 1, 0, 0, second, 0, time.UTC).Format(time.RFC3339)
}

// retime puts the sequence's own time where the field manager read the clock.
func retime(o object, now string) {
	meta, _ := o["metadata"].(object)
	entries, _ := meta["managedFields"].([]any)
	for _, e := range entries {
		entry := e.(object)
		if t, ok := entry["time"].(string); ok && !strings.HasPrefix(t, "2024-") {
			entry["time"] = now
		}
	}
}

func (w *world) apply(live object, s *step) object {
	fm := w.managers[s.Subresource]
	u := &unstructured.Unstructured{Object: normal(s.Object)}
	out, err := fm.Apply(w.decode(live), u, s.Manager, s.Force)
	if err != nil {
		if strings.HasPrefix(err.Error(), "Apply failed with") {
			s.Conflict = err.Error()
		} else {
			s.Invalid = err.Error()
		}
		return live
	}
	s.Want = encode(out)
	retime(s.Want, s.Now)
	return s.Want
}

func (w *world) update(live object, s *step) object {
	fm := w.managers[s.Subresource]
	out, err := fm.Update(w.decode(live), w.decode(s.Object), s.Manager)
	if err != nil {
		s.Invalid = err.Error()
		return live
	}
	s.Want = encode(out)
	retime(s.Want, s.Now)
	return s.Want
}

// normal gives an object the number types that the API server's decoder gives it.
func normal(o object) object {
	raw, err := json.Marshal(o)
	check(err)
	u := &unstructured.Unstructured{}
	check(u.UnmarshalJSON(raw))
	return u.Object
}

// key fields and others that a mutation leaves alone
var fixed = map[string]bool{"apiVersion": true, "kind": true, "metadata": true, "name": true, "namespace": true, "uid": true,
	"managedFields": true, "containerPort": true, "port": true, "protocol": true, "type": true, "topologyKey": true,
	"mountPath": true, "whenUnsatisfiable": true, "creationTimestamp": true, "template": true, "selector": true, "strategy": true,
	"resources": true, "status": true, "loadBalancer": true, "spec": true, "maxSkew": true, "cpu": true, "id": true, "containers": true, "targetPort": true, "memory": true, "maxSurge": true, "controller": true}

// mutate drops and changes parts of a value.
func mutate(r *rand.Rand, v any) any {
	switch t := v.(type) {
	case object:
		for _, k := range keys(t) {
			if k == "managedFields" || k == "status" {
				continue
			}
			if !fixed[k] && r.Intn(14) == 0 {
				delete(t, k)
				continue
			}
			if !fixed[k] || isContainer(t[k]) {
				t[k] = mutate(r, t[k])
			}
		}
		return t
	case []any:
		out := []any{}
		for _, item := range t {
			if r.Intn(10) == 0 {
				continue
			}
			if isContainer(item) {
				item = mutate(r, item)
			}
			out = append(out, item)
		}
		return out
	case string:
		if r.Intn(8) == 0 {
			return fmt.Sprint("m", r.Intn(4))
		}
	case float64:
		if r.Intn(8) == 0 {
			return float64(1 + r.Intn(6))
		}
	}
	return v
}

func isContainer(v any) bool {
	switch v.(type) {
	case object, []any:
		return true
	}
	return false
}

func keys(m object) []string {
	out := []string{}
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// overlay merges maps and replaces all else.
func overlay(dst, src object) {
	for _, k := range keys(src) {
		if s, ok := src[k].(object); ok {
			if d, ok := dst[k].(object); ok {
				overlay(d, s)
				continue
			}
		}
		dst[k] = src[k]
	}
}

func (w *world) identify(o object) {
	o["apiVersion"], o["kind"] = w.kind.GroupVersion().String(), w.kind.Kind
	meta, ok := o["metadata"].(object)
	if !ok {
		meta = object{}
		o["metadata"] = meta
	}
	meta["name"], meta["namespace"] = "x", "demo"
}

func (w *world) run(r *rand.Rand, name string, steps int) sequence {
	seq := sequence{Name: name, Kind: w.kind.Kind}
	var live object
	if r.Intn(5) == 0 {
		// An object from before anybody was tracked.
		live = w.build(r)
		w.identify(live)
		live["metadata"].(object)["uid"] = "u1"
		if r.Intn(2) == 0 {
			last := w.build(r)
			w.identify(last)
			overlay(live, last)
			text, err := json.Marshal(last)
			check(err)
			overlay(live, object{"metadata": object{"annotations": object{"kubectl.kubernetes.io/last-applied-configuration": string(text)}}})
		}
		live = encode(w.decode(copyOf(live)))
		seq.Live = live
	}
	managers := []string{"kustomize-controller", "helm-controller", "kubectl", "flagger", "kubectl-edit"}
	last := map[string]object{}
	for i := 0; i < steps; i++ {
		s := step{Manager: managers[r.Intn(len(managers))], Now: at(i + 1)}
		switch pick := r.Intn(10); {
		case pick < 6 || live == nil && pick < 8:
			s.Op = "apply"
			s.Force = r.Intn(3) == 0
			cfg := w.build(r)
			if prev, ok := last[s.Manager]; ok && r.Intn(3) > 0 {
				cfg = mutate(r, copyOf(prev)).(object)
				if r.Intn(3) == 0 {
					overlay(cfg, w.build(r))
				}
			}
			w.identify(cfg)
			s.Object = cfg
			live = w.apply(live, &s)
			if s.Want != nil {
				last[s.Manager] = cfg
			}
		case pick == 9 && w.status != nil && live != nil:
			s.Op, s.Subresource = "update", "status"
			s.Object = copyOf(live)
			s.Object["status"] = w.status(r)
			live = w.update(live, &s)
		default:
			s.Op = "update"
			next := object{}
			if live != nil {
				next = copyOf(live)
				if r.Intn(6) > 0 {
					next = mutate(r, next).(object)
				}
			}
			if live == nil || r.Intn(2) == 0 {
				overlay(next, w.build(r))
			}
			w.identify(next)
			s.Object = encode(w.decode(next))
			if r.Intn(12) == 0 {
				s.Object["metadata"].(object)["managedFields"] = []any{}
			}
			live = w.update(live, &s)
		}
		seq.Steps = append(seq.Steps, s)
		if live != nil {
			live = copyOf(live)
			live["metadata"].(object)["uid"] = "u1"
		}
	}
	return seq
}

func main() {
	dir := os.Args[1]
	check(os.MkdirAll(dir, 0o755))
	built := applyconfigurations.NewTypeConverter(scheme.Scheme)
	custom, err := managedfields.NewTypeConverter(customSpecs(), false)
	check(err)
	worlds := []*world{
		newWorld(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, true, built, deployment, deploymentStatus),
		newWorld(schema.GroupVersionKind{Version: "v1", Kind: "Service"}, true, built, service, nil),
		newWorld(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, true, built, configMap, nil),
		newWorld(schema.GroupVersionKind{Group: "weir.test", Version: "v1", Kind: "Widget"}, false, custom, widget, widgetStatus),
	}
	for i, w := range worlds {
		r := rand.New(rand.NewSource(int64(7 + i)))
		f, err := os.Create(filepath.Join(dir, strings.ToLower(w.kind.Kind)+".jsonl"))
		check(err)
		out := bufio.NewWriter(f)
		for n := 0; n < 45; n++ {
			write(out, w.run(r, fmt.Sprintf("%s-%02d", strings.ToLower(w.kind.Kind), n), 3+r.Intn(4)))
		}
		check(out.Flush())
		check(f.Close())
	}
	check(os.WriteFile(filepath.Join(dir, "widget.schema.json"), []byte(widgetSchema+"\n"), 0o644))
	strategic(filepath.Join(dir, "strategic.jsonl"))
}

func write(out *bufio.Writer, v any) {
	raw, err := json.Marshal(v)
	check(err)
	_, err = out.Write(append(raw, '\n'))
	check(err)
}
