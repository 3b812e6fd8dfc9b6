// The cluster's names: SERVICE.NAMESPACE.svc.ZONE from Services and EndpointSlices, over UDP and TCP.
// It owns that zone and asks nobody else, so every other name does not exist; it serves no SRV or PTR records.
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	services "k8s.io/client-go/listers/core/v1"
	endpoints "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// Answers are short-lived: a test that moves a Service must not wait for a cache.
const ttl = 2

// What fits into one UDP answer without an extension that clients would have to ask for.
const maxDatagram = 512

type zone struct {
	suffix    string // ".svc.cluster.local."
	services  services.ServiceLister
	endpoints endpoints.EndpointSliceLister
}

func serveDNS(args []string) error {
	flags := flag.NewFlagSet("dns", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "file that says how to reach the API server")
	listen := flags.String("listen", "127.0.0.1:53", "address and port for UDP and TCP")
	domain := flags.String("zone", "cluster.local", "the cluster's domain")
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
	z := &zone{
		suffix:    ".svc." + strings.Trim(*domain, ".") + ".",
		services:  watch.Core().V1().Services().Lister(),
		endpoints: watch.Discovery().V1().EndpointSlices().Lister(),
	}
	watch.Start(nil)
	watch.WaitForCacheSync(nil)

	packets, err := net.ListenPacket("udp", *listen)
	if err != nil {
		return err
	}
	streams, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("serving", *listen)
	go func() {
		for {
			connection, err := streams.Accept()
			if err != nil {
				fmt.Println("accept:", err)
				continue
			}
			go z.converse(connection)
		}
	}()
	buffer := make([]byte, 4096)
	for {
		n, from, err := packets.ReadFrom(buffer)
		if err != nil {
			return err
		}
		if answer, ok := z.answer(buffer[:n], maxDatagram); ok {
			_, _ = packets.WriteTo(answer, from)
		}
	}
}

// converse answers the length-prefixed questions of one TCP connection until the client is done or idle.
func (z *zone) converse(connection net.Conn) {
	defer connection.Close()
	for {
		_ = connection.SetDeadline(time.Now().Add(10 * time.Second))
		var length uint16
		if binary.Read(connection, binary.BigEndian, &length) != nil {
			return
		}
		question := make([]byte, length)
		if _, err := io.ReadFull(connection, question); err != nil {
			return
		}
		answer, ok := z.answer(question, 65535)
		if !ok {
			return
		}
		if _, err := connection.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// answer is the reply to one question, truncated (and marked so) where it would not fit; false for what is no question.
func (z *zone) answer(packet []byte, limit int) ([]byte, bool) {
	var parser dnsmessage.Parser
	header, err := parser.Start(packet)
	if err != nil || header.Response {
		return nil, false
	}
	question, err := parser.Question()
	if err != nil {
		return nil, false
	}
	known, bodies := z.look(strings.ToLower(question.Name.String()), question.Type)
	reply := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: header.ID, Response: true, Authoritative: true, OpCode: header.OpCode, RecursionDesired: header.RecursionDesired,
		},
		Questions: []dnsmessage.Question{question},
	}
	if !known {
		reply.RCode = dnsmessage.RCodeNameError
	}
	for _, body := range bodies {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, TTL: ttl},
			Body:   body,
		})
	}
	packed, err := reply.Pack()
	if err == nil && len(packed) > limit {
		reply.Truncated, reply.Answers = true, nil
		packed, err = reply.Pack()
	}
	return packed, err == nil
}

// look says whether a name exists and which records of a type it has. A Service's name stands for its cluster
// address, a headless one's for its ready endpoints, and HOSTNAME.SERVICE for one of those.
func (z *zone) look(name string, kind dnsmessage.Type) (bool, []dnsmessage.ResourceBody) {
	rest, inside := strings.CutSuffix(name, z.suffix)
	if !inside {
		return false, nil
	}
	parts := strings.Split(rest, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return false, nil
	}
	parts = slices.Insert(parts, 0, make([]string, 3-len(parts))...)
	host, service, namespace := parts[0], parts[1], parts[2]
	found, err := z.services.Services(namespace).Get(service)
	if err != nil {
		return false, nil
	}
	if found.Spec.Type == core.ServiceTypeExternalName {
		target, err := dnsmessage.NewName(strings.TrimSuffix(found.Spec.ExternalName, ".") + ".")
		if host != "" || err != nil {
			return false, nil
		}
		return true, []dnsmessage.ResourceBody{&dnsmessage.CNAMEResource{CNAME: target}}
	}
	addresses := found.Spec.ClusterIPs
	if found.Spec.ClusterIP == core.ClusterIPNone {
		if addresses = z.ready(namespace, service, host, found.Spec.PublishNotReadyAddresses); len(addresses) == 0 {
			return host == "", nil
		}
	} else if host != "" {
		return false, nil
	}
	var bodies []dnsmessage.ResourceBody
	for _, text := range addresses {
		address, err := netip.ParseAddr(text)
		switch {
		case err != nil:
		case address.Is4() && kind == dnsmessage.TypeA:
			bodies = append(bodies, &dnsmessage.AResource{A: address.As4()})
		case address.Is6() && kind == dnsmessage.TypeAAAA:
			bodies = append(bodies, &dnsmessage.AAAAResource{AAAA: address.As16()})
		}
	}
	return true, bodies
}

func (z *zone) ready(namespace, service, host string, unready bool) []string {
	slicesOf, err := z.endpoints.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discovery.LabelServiceName: service}))
	if err != nil {
		return nil
	}
	var addresses []string
	for _, slice := range slicesOf {
		for _, endpoint := range slice.Endpoints {
			ready := unready || endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			named := host == "" || endpoint.Hostname != nil && *endpoint.Hostname == host
			if ready && named {
				addresses = append(addresses, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}
