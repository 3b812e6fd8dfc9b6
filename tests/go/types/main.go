// Command types writes crates/schema/data/go-1.34.json: the Go structs behind the built-in kinds, as
// encoding/json sees them. It reads the kinds from the type graph that ../schema wrote.
//
//	go run . ../../../crates/schema/data/kubernetes-1.34.json ../../../crates/schema/data/go-1.34.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

// row is a type: n name, g how errors call it, k what it is, f the fields of a struct in order,
// e the elements of a list or map.
type row struct {
	N string  `json:"n,omitempty"`
	G string  `json:"g,omitempty"`
	K string  `json:"k"`
	F []field `json:"f,omitempty"`
	E *field  `json:"e,omitempty"`
}

// field is an edge: its name, the number of its type, and o omitempty, z omitzero, p pointer.
type field struct {
	Name  string
	Type  int
	Flags string
}

func (f field) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{f.Name, f.Type, f.Flags})
}

type graph struct {
	rows  []*row
	known map[reflect.Type]int
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (g *graph) add(t reflect.Type) int {
	if at, ok := g.known[t]; ok {
		return at
	}
	at := len(g.rows)
	r := &row{G: t.String()}
	g.known[t] = at
	g.rows = append(g.rows, r)
	switch {
	case reflect.PointerTo(t).Implements(unmarshaler) || t == reflect.TypeFor[[]byte]():
		r.K = t.Name()
		if t == reflect.TypeFor[[]byte]() {
			r.K = "bytes"
		}
	case t.Kind() == reflect.Struct:
		r.K, r.N = "struct", t.Name()
		r.F = g.fields(t)
	case t.Kind() == reflect.Slice:
		r.K = "list"
		r.E = g.edge("", t.Elem(), "")
	case t.Kind() == reflect.Map:
		r.K = "map"
		r.E = g.edge("", t.Elem(), "")
	default:
		r.K = t.Kind().String()
	}
	return at
}

func (g *graph) edge(name string, t reflect.Type, options string) *field {
	flags := ""
	for _, option := range strings.Split(options, ",") {
		switch option {
		case "omitempty":
			flags += "o"
		case "omitzero":
			flags += "z"
		}
	}
	if t.Kind() == reflect.Pointer {
		flags += "p"
		t = t.Elem()
	}
	return &field{name, g.add(t), flags}
}

func (g *graph) fields(t reflect.Type) (out []field) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if f.Anonymous && name == "" {
			out = append(out, g.fields(f.Type)...)
			continue
		}
		if name == "" {
			name = f.Name
		}
		out = append(out, *g.edge(name, f.Type, options))
	}
	return out
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	s := runtime.NewScheme()
	check(scheme.AddToScheme(s))
	check(apiextensions.AddToScheme(s))
	check(apiregistration.AddToScheme(s))
	var graphFile struct {
		Kinds []struct{ Group, Version, Kind string }
	}
	raw, err := os.ReadFile(os.Args[1])
	check(err)
	check(json.Unmarshal(raw, &graphFile))
	g := graph{known: map[reflect.Type]int{}}
	kinds := map[string]int{}
	for _, kind := range graphFile.Kinds {
		gvk := schema.GroupVersionKind(kind)
		o, err := s.New(gvk)
		check(err)
		kinds[gvk.GroupVersion().String()+"/"+gvk.Kind] = g.add(reflect.TypeOf(o).Elem())
	}
	for name, o := range map[string]any{
		"autoscaling/v1/Scale": must(s, "autoscaling", "Scale"), "policy/v1/Eviction": must(s, "policy", "Eviction"),
		"v1/Binding": must(s, "", "Binding"), "v1/DeleteOptions": &metav1.DeleteOptions{},
		"authentication.k8s.io/v1/TokenRequest": must(s, "authentication.k8s.io", "TokenRequest"),
		"meta/ObjectMeta":                       &metav1.ObjectMeta{},
	} {
		kinds[name] = g.add(reflect.TypeOf(o).Elem())
	}
	var out bytes.Buffer
	names, err := json.Marshal(kinds)
	check(err)
	fmt.Fprintf(&out, "{\"kinds\":%s,\"types\":[\n", names)
	for i, r := range g.rows {
		if i > 0 {
			out.WriteString(",\n")
		}
		line, err := json.Marshal(r)
		check(err)
		out.Write(line)
	}
	out.WriteString("\n]}\n")
	check(os.WriteFile(os.Args[2], out.Bytes(), 0o644))
}

func must(s *runtime.Scheme, group, kind string) any {
	o, err := s.New(schema.GroupVersionKind{Group: group, Version: "v1", Kind: kind})
	check(err)
	return o
}
