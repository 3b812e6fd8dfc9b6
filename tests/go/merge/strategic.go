package main

import (
	"bufio"
	"encoding/json"
	"math/rand"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

type patchCase struct {
	Kind  string `json:"kind"`
	Live  object `json:"live"`
	Patch object `json:"patch"`
	Want  object `json:"want,omitempty"`
	Fails bool   `json:"fails,omitempty"`
}

// strategic writes patches that kubectl would compute between two versions, applied to a third,
// and patches with directives by hand.
func strategic(path string) {
	f, err := os.Create(path)
	check(err)
	out := bufio.NewWriter(f)
	r := rand.New(rand.NewSource(23))
	emit := func(kind string, data any, live, patch object) {
		c := patchCase{Kind: kind, Live: live, Patch: patch}
		l, err := json.Marshal(live)
		check(err)
		p, err := json.Marshal(patch)
		check(err)
		want, err := strategicpatch.StrategicMergePatch(l, p, data)
		if err != nil {
			c.Fails = true
		} else {
			check(json.Unmarshal(want, &c.Want))
		}
		write(out, c)
	}
	for i := 0; i < 120; i++ {
		kind, build, data := "Deployment", deployment, any(appsv1.Deployment{})
		if i%3 == 0 {
			kind, build, data = "Service", service, any(corev1.Service{})
		}
		from, live := copyOf(build(r)), copyOf(build(r))
		to := mutate(r, copyOf(from)).(object)
		if r.Intn(2) == 0 {
			overlay(to, copyOf(build(r)))
		}
		a, err := json.Marshal(from)
		check(err)
		b, err := json.Marshal(to)
		check(err)
		raw, err := strategicpatch.CreateTwoWayMergePatch(a, b, data)
		if err != nil {
			continue
		}
		patch := object{}
		check(json.Unmarshal(raw, &patch))
		if r.Intn(2) == 0 {
			live = from
		}
		emit(kind, data, live, patch)
	}
	pod := func(text string) object {
		o := object{}
		check(json.Unmarshal([]byte(text), &o))
		return object{"spec": object{"template": object{"spec": o}}}
	}
	lives := []string{
		`{"containers":[{"name":"a","image":"1","env":[{"name":"X","value":"1"},{"name":"Y","value":"2"}],"args":["p","q"]},{"name":"b","image":"2"}],"volumes":[{"name":"v","emptyDir":{}},{"name":"w","configMap":{"name":"c"}}],"nodeSelector":{"z":"1","y":"2"}}`,
		`{"containers":[{"name":"b","image":"2","ports":[{"containerPort":80,"protocol":"TCP"},{"containerPort":80,"protocol":"UDP"}]}]}`,
		`{}`,
	}
	patches := []string{
		`{"containers":[{"name":"a","$patch":"delete"}]}`,
		`{"containers":[{"name":"c","image":"3"},{"$patch":"replace"}]}`,
		`{"containers":[{"name":"b","image":"9"},{"name":"c","image":"3"}],"$setElementOrder/containers":[{"name":"c"},{"name":"b"},{"name":"a"}]}`,
		`{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}`,
		`{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}`,
		`{"volumes":[{"name":"v","$retainKeys":["name"],"hostPath":{"path":"/x"}}]}`,
		`{"nodeSelector":{"$patch":"replace","q":"1"}}`,
		`{"nodeSelector":{"$patch":"delete"}}`,
		`{"nodeSelector":{"z":null,"q":"1"}}`,
		`{"nodeSelector":{"$patch":"what"}}`,
		`{"nodeSelector":null}`,
		`{"containers":[{"image":"1"}]}`,
		`{"containers":[{"name":"a","args":["z"],"env":[{"name":"Y","$patch":"delete"},{"name":"Z","value":"3"}]}]}`,
		`{"containers":[{"name":"b","ports":[{"containerPort":80,"name":"x"}]}]}`,
		`{"containers":null}`,
		`{"containers":[{"name":"n","image":null,"env":[{"name":"K","$patch":"delete"}]}]}`,
		`{"containers":"x"}`,
		`{"tolerations":[{"key":"k"}]}`,
	}
	for _, live := range lives {
		for _, patch := range patches {
			emit("Deployment", appsv1.Deployment{}, pod(live), pod(patch))
		}
	}
	meta := []string{
		`{"metadata":{"finalizers":["a","b","c"]}}`, `{"metadata":{}}`,
	}
	prims := []string{
		`{"metadata":{"finalizers":["d"]}}`,
		`{"metadata":{"$deleteFromPrimitiveList/finalizers":["b"]}}`,
		`{"metadata":{"$deleteFromPrimitiveList/finalizers":["b"],"$setElementOrder/finalizers":["d","a"],"finalizers":["d"]}}`,
		`{"metadata":{"$setElementOrder/finalizers":["c","a"],"finalizers":["c"]}}`,
		`{"metadata":{"finalizers":["c","d","a"]}}`,
		`{"metadata":{"$patch":"replace","name":"x"}}`,
		`{"metadata":{"labels":{"a":"b","c":null}}}`,
		`{"metadata":{"ownerReferences":[{"uid":"1","name":"n"}]}}`,
		`{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}`,
		`{"$patch":"replace","metadata":{"name":"y"}}`,
	}
	for _, live := range meta {
		for _, patch := range prims {
			l, p := object{}, object{}
			check(json.Unmarshal([]byte(live), &l))
			check(json.Unmarshal([]byte(patch), &p))
			l["spec"] = object{"strategy": object{"type": "RollingUpdate", "rollingUpdate": object{"maxSurge": "1%"}}}
			emit("Deployment", appsv1.Deployment{}, l, p)
		}
	}
	check(out.Flush())
	check(f.Close())
}
