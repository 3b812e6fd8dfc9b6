"""What is asked of both servers: objects as people write them and as they get them wrong.

Each case is a body sent with ?dryRun=All, so that nothing is kept and no controller answers, or a change to
an object that was made first.
"""

import copy

NS = "adm"


def put(value, path, new):
    """Sets a path such as spec.containers.0.name; None as the new value removes it."""
    steps = path.split("/") if "/" in path else path.split(".")
    for step in steps[:-1]:
        if isinstance(value, list):
            value = value[int(step)]
        else:
            value = value.setdefault(step, {})
    last = steps[-1]
    if isinstance(value, list):
        if int(last) == len(value):
            value.append(new)
        else:
            value[int(last)] = new
    elif new is None:
        value.pop(last, None)
    else:
        value[last] = new


def path_of(kind):
    group, version, plural, namespaced = KINDS[kind]
    root = "/api/" + version if not group else f"/apis/{group}/{version}"
    return f"{root}/namespaces/{NS}/{plural}" if namespaced else f"{root}/{plural}"


def obj(kind, name="x", **rest):
    group, version, _, _ = KINDS[kind]
    return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, "metadata": {"name": name}, **rest}


KINDS = {
    "Pod": ("", "v1", "pods", True), "Namespace": ("", "v1", "namespaces", False),
    "ConfigMap": ("", "v1", "configmaps", True), "Secret": ("", "v1", "secrets", True),
    "Service": ("", "v1", "services", True), "ServiceAccount": ("", "v1", "serviceaccounts", True),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims", True),
    "PersistentVolume": ("", "v1", "persistentvolumes", False),
    "Endpoints": ("", "v1", "endpoints", True), "Event": ("", "v1", "events", True), "Node": ("", "v1", "nodes", False),
    "ResourceQuota": ("", "v1", "resourcequotas", True), "LimitRange": ("", "v1", "limitranges", True),
    "PodTemplate": ("", "v1", "podtemplates", True),
    "ReplicationController": ("", "v1", "replicationcontrollers", True),
    "Deployment": ("apps", "v1", "deployments", True), "ReplicaSet": ("apps", "v1", "replicasets", True),
    "StatefulSet": ("apps", "v1", "statefulsets", True), "DaemonSet": ("apps", "v1", "daemonsets", True),
    "ControllerRevision": ("apps", "v1", "controllerrevisions", True),
    "Job": ("batch", "v1", "jobs", True), "CronJob": ("batch", "v1", "cronjobs", True),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers", True),
    "Ingress": ("networking.k8s.io", "v1", "ingresses", True),
    "IngressClass": ("networking.k8s.io", "v1", "ingressclasses", False),
    "NetworkPolicy": ("networking.k8s.io", "v1", "networkpolicies", True),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets", True),
    "Role": ("rbac.authorization.k8s.io", "v1", "roles", True),
    "ClusterRole": ("rbac.authorization.k8s.io", "v1", "clusterroles", False),
    "RoleBinding": ("rbac.authorization.k8s.io", "v1", "rolebindings", True),
    "ClusterRoleBinding": ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", False),
    "EndpointSlice": ("discovery.k8s.io", "v1", "endpointslices", True),
    "Lease": ("coordination.k8s.io", "v1", "leases", True),
    "PriorityClass": ("scheduling.k8s.io", "v1", "priorityclasses", False),
    "StorageClass": ("storage.k8s.io", "v1", "storageclasses", False),
    "RuntimeClass": ("node.k8s.io", "v1", "runtimeclasses", False),
}

POD = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
SELECTOR = {"matchLabels": {"a": "b"}}


def base(kind):
    spec = {
        "Pod": POD,
        "Service": {"selector": {"a": "b"}, "ports": [{"port": 80}]},
        "PersistentVolumeClaim": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        "PersistentVolume": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}},
        "ResourceQuota": {"hard": {"pods": "10"}},
        "LimitRange": {"limits": [{"type": "Container", "default": {"cpu": "500m"}}]},
        "Deployment": {"selector": SELECTOR, "template": TEMPLATE},
        "ReplicaSet": {"selector": SELECTOR, "template": TEMPLATE},
        "DaemonSet": {"selector": SELECTOR, "template": TEMPLATE},
        "StatefulSet": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"},
        "ReplicationController": {"template": TEMPLATE},
        "Job": {"template": {"spec": {**POD, "restartPolicy": "Never"}}},
        "CronJob": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": {**POD, "restartPolicy": "Never"}}}}},
        "HorizontalPodAutoscaler": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
        "Ingress": {"rules": [{"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]},
        "IngressClass": {"controller": "example.com/c"},
        "NetworkPolicy": {"podSelector": {}},
        "PodDisruptionBudget": {"minAvailable": 1, "selector": SELECTOR},
        "Lease": {"holderIdentity": "me", "leaseDurationSeconds": 15},
    }.get(kind)
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    rest = {
        "ConfigMap": {"data": {"a": "b"}},
        "Secret": {"stringData": {"a": "b"}},
        "Endpoints": {"subsets": [{"addresses": [{"ip": "10.1.1.1"}], "ports": [{"port": 80}]}]},
        "Event": {"involvedObject": {"kind": "Pod", "name": "p", "namespace": NS}, "reason": "R", "type": "Normal"},
        "PodTemplate": {"template": TEMPLATE},
        "ControllerRevision": {"revision": 1, "data": {"a": 1}},
        "Role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        "ClusterRole": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
        "RoleBinding": {"roleRef": role, "subjects": [{"kind": "User", "name": "u"}]},
        "ClusterRoleBinding": {"roleRef": role, "subjects": [{"kind": "ServiceAccount", "name": "u", "namespace": NS}]},
        "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.1.1"]}], "ports": [{"port": 80}]},
        "PriorityClass": {"value": 100},
        "StorageClass": {"provisioner": "example.com/p"},
        "RuntimeClass": {"handler": "h"},
    }.get(kind, {})
    made = obj(kind, **copy.deepcopy(rest))
    if spec is not None:
        made["spec"] = copy.deepcopy(spec)
    return made


def creates():
    """Cases (file, kind, body)."""
    for kind in KINDS:
        yield "minimal", kind, base(kind)
        yield "minimal", kind, obj(kind)
    for kind in ["ConfigMap", "Pod", "Service", "Namespace", "Role", "ClusterRole", "Deployment", "Ingress", "PriorityClass", "Node", "ServiceAccount", "Secret", "CronJob", "StatefulSet", "Job", "Lease", "NetworkPolicy", "StorageClass", "PersistentVolumeClaim", "EndpointSlice", "Event", "ReplicaSet", "PodDisruptionBudget"]:
        for name in ["UPPER", "a.b", "a_b", "-a", "a:b", "a/b", "..", "x" * 64, "9a", "a.", "a..b"]:
            made = base(kind)
            made["metadata"]["name"] = name
            yield "names", kind, made
    for kind, change in METADATA:
        yield "metadata", kind, changed(kind, change)
    for file, kind, table in TABLES:
        for change in table:
            yield file, kind, changed(kind, change)


def changed(kind, change):
    made = base(kind)
    for path, value in change.items():
        put(made, path, copy.deepcopy(value))
    return made


METADATA = [("ConfigMap", change) for change in [
    {"metadata.name": None}, {"metadata.name": None, "metadata.generateName": "a-" + "x" * 60},
    {"metadata.labels": {"a b": "c"}}, {"metadata.labels": {"a/b/c": "d"}}, {"metadata.labels": {"a": "b c"}}, {"metadata.labels": {"a": "x" * 64}},
    {"metadata.labels": {"x" * 64: "a"}}, {"metadata.labels": {"": "a"}}, {"metadata.labels": {"UPPER.example/x": "a"}}, {"metadata.labels": {"/x": "a"}}, {"metadata.labels": {"x/": "a"}},
    {"metadata.annotations": {"a b": "c"}}, {"metadata.annotations": {"UPPER/x": "c"}},
    {"metadata.finalizers": ["x"]}, {"metadata.finalizers": ["a/b"]}, {"metadata.finalizers": ["a/b c"]}, {"metadata.finalizers": ["orphan"]}, {"metadata.finalizers": ["orphan", "foregroundDeletion"]}, {"metadata.finalizers": ["kubernetes"]},
    {"metadata.ownerReferences": [{}]}, {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]},
    {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "p", "uid": "u"}]},
    {"metadata.ownerReferences": [{"apiVersion": "a/b/c", "kind": "Pod", "name": "p", "uid": "u"}]},
    {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}, {"apiVersion": "v1", "kind": "Pod", "name": "q", "uid": "v", "controller": True}]},
    {"metadata.ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}, {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]},
    {"metadata.generation": 5, "metadata.uid": "mine", "metadata.selfLink": "x"}, {"metadata.deletionTimestamp": "2020-01-01T00:00:00Z", "metadata.deletionGracePeriodSeconds": 3},
    {"metadata.managedFields": [{"manager": "m"}]}, {"metadata.managedFields": [{"manager": "m", "operation": "Odd", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}}]},
    {"metadata.namespace": "other"}, {"status": {"a": 1}},
]] + [(kind, {"metadata.finalizers": ["a", "a.b", "a b"]}) for kind in KINDS if kind != "Namespace"]

C = "spec.containers.0."
V = lambda **v: {"spec.volumes": [{"name": "v", **v}], C + "volumeMounts": [{"name": "v", "mountPath": "/m"}]}
PODS = [
    {"spec.containers": []}, {C + "name": None}, {C + "name": "UP"}, {C + "name": "a.b"}, {C + "name": "x" * 64}, {C + "image": None}, {C + "image": " a"}, {C + "image": "a:b:c"},
    {"spec.containers.1": {"name": "c", "image": "j"}}, {"spec.initContainers": [{"name": "c", "image": "j"}]}, {"spec.initContainers": [{"name": "i", "image": "j"}]},
    {"spec.initContainers": [{"name": "i", "image": "j", "restartPolicy": "Always"}]}, {"spec.initContainers": [{"name": "i", "image": "j", "restartPolicy": "Never"}]}, {C + "restartPolicy": "Always"},
    {"spec.initContainers": [{"name": "i", "image": "j", "readinessProbe": {"exec": {"command": ["x"]}}, "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]},
    {C + "imagePullPolicy": "Odd"}, {C + "image": "a:latest"}, {C + "image": "a:1"}, {C + "image": "a@sha256:" + "0" * 64}, {C + "terminationMessagePolicy": "Odd"}, {C + "terminationMessagePath": "x"},
    {C + "ports": [{"containerPort": 0}]}, {C + "ports": [{}]}, {C + "ports": [{"containerPort": 70000}]}, {C + "ports": [{"containerPort": 80, "protocol": "tcp"}]}, {C + "ports": [{"containerPort": 80, "name": "UP"}]},
    {C + "ports": [{"containerPort": 80, "name": "a-name-that-is-long"}]}, {C + "ports": [{"containerPort": 80, "name": "123"}]}, {C + "ports": [{"containerPort": 80, "name": "a--b"}]},
    {C + "ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}, {C + "ports": [{"containerPort": 80}, {"containerPort": 80}]}, {C + "ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 80}]},
    {C + "ports": [{"containerPort": 80, "hostPort": 81}], "spec.hostNetwork": True}, {C + "ports": [{"containerPort": 80}], "spec.hostNetwork": True}, {C + "ports": [{"containerPort": 80, "hostIP": "x", "hostPort": 80}]},
    {C + "env": [{"name": ""}]}, {C + "env": [{"name": "a=b"}]}, {C + "env": [{"name": "1a", "value": "x"}]}, {C + "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
    {C + "env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, {C + "env": [{"name": "A", "valueFrom": {}}]}, {C + "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nope"}}}]},
    {C + "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}]}, {C + "env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}, {C + "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]},
    {C + "env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "x"}}}]}, {C + "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "", "key": ""}}}]}, {C + "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}}]},
    {C + "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}, "configMapKeyRef": {"name": "s", "key": "k"}}}]}, {C + "envFrom": [{}]}, {C + "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "1="}]}, {C + "envFrom": [{"configMapRef": {"name": ""}}]}, {C + "envFrom": [{"configMapRef": {"name": "a"}, "secretRef": {"name": "b"}}]},
    {C + "resources": {"limits": {"cpu": "1"}}}, {C + "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, {C + "resources": {"requests": {"cpu": "-1"}}}, {C + "resources": {"requests": {"nope": "1"}}}, {C + "resources": {"limits": {"example.com/gpu": "1"}}}, {C + "resources": {"requests": {"example.com/gpu": "1"}}},
    {C + "resources": {"limits": {"example.com/gpu": "1500m"}, "requests": {"example.com/gpu": "1500m"}}}, {C + "resources": {"requests": {"memory": "1500m"}}}, {C + "resources": {"requests": {"cpu": "0.0001"}}}, {C + "resources": {"limits": {"hugepages-2Mi": "3Mi"}}}, {C + "resources": {"limits": {"hugepages-2Mi": "2Mi"}}}, {C + "resources": {"requests": {"kubernetes.io/x": "1"}}},
    {C + "resources": {"claims": [{"name": "x"}]}}, {C + "resources": {"limits": {"memory": "128Mi", "cpu": "1000m", "ephemeral-storage": "1.5Gi"}}},
    *[{C + probe: value} for probe in ["livenessProbe", "readinessProbe", "startupProbe"] for value in [
        {}, {"httpGet": {"port": 80}}, {"httpGet": {"path": "", "port": "http"}}, {"httpGet": {"port": 0}}, {"httpGet": {"port": "UP"}}, {"httpGet": {"port": 80, "scheme": "FTP"}}, {"httpGet": {"port": 80, "httpHeaders": [{"name": "a b", "value": "c"}]}}, {"tcpSocket": {"port": 70000}}, {"exec": {}}, {"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}, {"grpc": {"port": 1}}, {"grpc": {"port": 0}},
        {"exec": {"command": ["x"]}, "timeoutSeconds": -1, "periodSeconds": -1, "successThreshold": -1, "failureThreshold": -1, "initialDelaySeconds": -1}, {"exec": {"command": ["x"]}, "successThreshold": 2}, {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 0}, {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 5}]],
    {C + "lifecycle": {}}, {C + "lifecycle": {"preStop": {}}}, {C + "lifecycle": {"preStop": {"sleep": {"seconds": 0}}}}, {C + "lifecycle": {"preStop": {"sleep": {"seconds": 40}}}}, {C + "lifecycle": {"preStop": {"httpGet": {"port": 80}}}}, {C + "lifecycle": {"postStart": {"exec": {"command": []}}}}, {C + "lifecycle": {"stopSignal": "SIGTERM"}},
    {C + "volumeMounts": [{"name": "v", "mountPath": "/m"}]}, {"spec.volumes": [{"name": "v"}]}, {"spec.volumes": [{"name": "UP"}]}, {"spec.volumes": [{"name": ""}]}, {"spec.volumes": [{"name": "v"}, {"name": "v"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
    V(emptyDir={}), V(emptyDir={"sizeLimit": "-1"}), V(emptyDir={"medium": "Odd"}), V(hostPath={"path": ""}), V(hostPath={"path": "/a/../b"}), V(hostPath={"path": "/x", "type": "Odd"}), V(hostPath={"path": "/x"}), V(configMap={}), V(configMap={"name": "c"}), V(configMap={"name": "c", "defaultMode": 1000}), V(configMap={"name": "c", "items": [{"key": "", "path": ""}]}), V(configMap={"name": "c", "items": [{"key": "k", "path": "/abs"}, {"key": "k", "path": "../x"}]}),
    V(secret={}), V(secret={"secretName": "s"}), V(secret={"secretName": "s", "items": [{"key": "k", "path": "p", "mode": -1}]}), V(persistentVolumeClaim={}), V(persistentVolumeClaim={"claimName": "c"}), V(projected={}), V(projected={"sources": []}), V(projected={"sources": [{"secret": {"name": "s"}}, {"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "t"}}, {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}),
    V(projected={"sources": [{"serviceAccountToken": {"path": "", "expirationSeconds": 5}}]}), V(downwardAPI={"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}), V(downwardAPI={"items": [{"path": "p"}]}), V(nfs={}), V(nfs={"server": "s", "path": "p"}), V(csi={}), V(csi={"driver": "d.example"}), V(ephemeral={}), V(ephemeral={"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}), V(gitRepo={"repository": "r"}), V(image={"reference": "r"}),
    {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v", "mountPath": "a:b", "subPath": "/x"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "../x", "subPathExpr": "y"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v", "mountPath": "/m", "mountPropagation": "Odd"}]}, {"spec.volumes": [{"name": "v", "emptyDir": {}}], C + "volumeMounts": [{"name": "v", "mountPath": "/m", "mountPropagation": "Bidirectional"}]},
    {"spec.restartPolicy": "Odd"}, {"spec.restartPolicy": ""}, {"spec.dnsPolicy": "Odd"}, {"spec.dnsPolicy": "None"}, {"spec.dnsPolicy": "None", "spec.dnsConfig": {"nameservers": ["1.1.1.1", "x"], "searches": ["a_b", "a"], "options": [{"name": ""}]}}, {"spec.terminationGracePeriodSeconds": -1}, {"spec.activeDeadlineSeconds": 0}, {"spec.activeDeadlineSeconds": -5}, {"spec.schedulerName": "UP"}, {"spec.nodeName": "UP_"}, {"spec.nodeName": "n"}, {"spec.hostname": "UP"}, {"spec.hostname": "a", "spec.subdomain": "B"}, {"spec.hostAliases": [{"ip": "x", "hostnames": ["a", "B_"]}]}, {"spec.serviceAccountName": "UP"}, {"spec.serviceAccountName": "nope"}, {"spec.serviceAccount": "default"}, {"spec.automountServiceAccountToken": False},
    {"spec.nodeSelector": {"a b": "c"}}, {"spec.nodeSelector": {"a": "b c"}}, {"spec.nodeSelector": {"beta.kubernetes.io/os": "linux"}}, {"spec.priorityClassName": "nope"}, {"spec.priorityClassName": "system-node-critical"}, {"spec.priority": 5}, {"spec.preemptionPolicy": "Never"}, {"spec.runtimeClassName": "nope"}, {"spec.imagePullSecrets": [{"name": ""}, {"name": "a"}]}, {"spec.overhead": {"cpu": "1"}}, {"spec.os": {"name": "odd"}}, {"spec.os": {"name": "windows"}}, {"spec.os": {"name": "linux"}}, {"spec.readinessGates": [{"conditionType": "a b"}]}, {"spec.schedulingGates": [{"name": "a/b"}, {"name": "a/b"}]}, {"spec.schedulingGates": [{"name": "a/b"}], "spec.nodeName": "n"}, {"spec.shareProcessNamespace": True, "spec.hostPID": True}, {"spec.hostUsers": False}, {"spec.enableServiceLinks": False}, {"spec.setHostnameAsFQDN": True}, {"spec.ephemeralContainers": [{"name": "e", "image": "i"}]}, {"spec.resources": {"requests": {"cpu": "1"}}},
    {"spec.tolerations": [{"key": "a"}]}, {"spec.tolerations": [{"operator": "Odd"}]}, {"spec.tolerations": [{"key": "a b", "operator": "Exists"}]}, {"spec.tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}, {"spec.tolerations": [{"operator": "Equal"}]}, {"spec.tolerations": [{"key": "a", "effect": "Odd"}]}, {"spec.tolerations": [{"key": "a", "tolerationSeconds": 3}]}, {"spec.tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 3}]}, {"spec.tolerations": [{"operator": "Exists"}]}, {"spec.tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]},
    {"spec.affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}, {"spec.affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a b", "operator": "Odd"}]}]}}}}, {"spec.affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Exists", "values": ["x"]}, {"key": "a", "operator": "Gt", "values": ["x", "y"]}]}]}}}}, {"spec.affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {}}]}}}, {"spec.affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ""}]}}}, {"spec.affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "a b", "namespaces": ["UP"], "labelSelector": {"matchLabels": {"a b": "c"}}}]}}}, {"spec.affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 200, "podAffinityTerm": {"topologyKey": "h", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}}]}}},
    {"spec.topologySpreadConstraints": [{}]}, {"spec.topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "h", "whenUnsatisfiable": "DoNotSchedule"}]}, {"spec.topologySpreadConstraints": [{"maxSkew": -1, "topologyKey": "a b", "whenUnsatisfiable": "Odd"}]}, {"spec.topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "h", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2, "labelSelector": {"matchLabels": {"a": "b"}}}]}, {"spec.topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "h", "whenUnsatisfiable": "DoNotSchedule"}, {"maxSkew": 1, "topologyKey": "h", "whenUnsatisfiable": "DoNotSchedule"}]},
    {"spec.securityContext": {"runAsUser": -1, "fsGroup": -1, "supplementalGroups": [-1], "runAsGroup": -1}}, {"spec.securityContext": {"sysctls": [{"name": "a b", "value": "1"}]}}, {"spec.securityContext": {"fsGroupChangePolicy": "Odd"}}, {"spec.securityContext": {"seccompProfile": {"type": "Odd"}}}, {"spec.securityContext": {"seccompProfile": {"type": "Localhost"}}}, {"spec.securityContext": {"windowsOptions": {"runAsUserName": "x"}}}, {C + "securityContext": {"privileged": True}}, {C + "securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, {C + "securityContext": {"runAsUser": -1, "runAsGroup": -1}}, {C + "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}, "allowPrivilegeEscalation": False}}, {C + "securityContext": {"procMount": "Odd"}}, {C + "securityContext": {"seccompProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}}, {C + "resizePolicy": [{"resourceName": "x", "restartPolicy": "y"}]}, {C + "workingDir": "x", C + "stdin": True, C + "stdinOnce": True, C + "tty": True, C + "command": ["a"], C + "args": ["b"]}, {"metadata.annotations": {"container.apparmor.security.beta.kubernetes.io/c": "odd"}},
]

D = "spec.template.spec."
TEMPLATED = [
    {"spec.replicas": -1}, {"spec.replicas": 0}, {"spec.selector": None}, {"spec.selector": {}}, {"spec.selector": {"matchLabels": {"x": "y"}}}, {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "Odd"}]}}, {"spec.selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, {"spec.selector": {"matchLabels": {"a": "b c"}}}, {"spec.template": None}, {"spec.template.metadata": None}, {"spec.template.metadata.labels": {"a": "b", "x y": "z"}}, {"spec.template.metadata.annotations": {"x y": "z"}}, {"spec.template.metadata.name": "UP", "spec.template.metadata.namespace": "other"}, {"spec.template.metadata.creationTimestamp": "2020-01-01T00:00:00Z"},
    {"spec.minReadySeconds": -1}, {"spec.revisionHistoryLimit": -1}, {D + "containers": []}, {D + "containers.0.name": "UP"}, {D + "restartPolicy": "Never"}, {D + "restartPolicy": "OnFailure"}, {D + "activeDeadlineSeconds": 5}, {D + "containers.0.resources": {"limits": {"cpu": "1"}, "requests": {"memory": "1024Mi"}}}, {D + "nodeSelector": {"beta.kubernetes.io/arch": "amd64"}}, {D + "containers.0.ports": [{"containerPort": 80, "hostPort": 8080}]}, {D + "serviceAccountName": "nope"}, {D + "priorityClassName": "nope"}, {D + "terminationGracePeriodSeconds": -1}, {D + "containers.0.env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, {D + "ephemeralContainers": [{"name": "e", "image": "i"}]}, {D + "containers.0.image": " x "}, {D + "hostNetwork": True, D + "containers.0.ports": [{"containerPort": 80}]},
]
DEPLOYMENTS = [
    {"spec.strategy": {"type": "Odd"}}, {"spec.strategy": {"type": "Recreate"}}, {"spec.strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}, {"spec.strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}, {"spec.strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": "0%"}}}, {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}, {"spec.strategy": {"rollingUpdate": {"maxUnavailable": -1, "maxSurge": -2}}}, {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "x"}}}, {"spec.strategy": {"rollingUpdate": {"maxUnavailable": "-5%"}}}, {"spec.progressDeadlineSeconds": 0}, {"spec.progressDeadlineSeconds": -1}, {"spec.progressDeadlineSeconds": 5, "spec.minReadySeconds": 5}, {"spec.paused": True}, {"status": {"replicas": 3}}, {"spec.rollbackTo": {"revision": 1}},
]
DAEMONS = [{"spec.updateStrategy": {"type": "OnDelete"}}, {"spec.updateStrategy": {"type": "Odd"}}, {"spec.updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}}, {"spec.updateStrategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}}, {"spec.updateStrategy": {"rollingUpdate": {"maxUnavailable": "200%"}}}, {"spec.updateStrategy": {"rollingUpdate": {"maxSurge": "10%", "maxUnavailable": 0}}}, {"spec.templateGeneration": 5}]
STATEFUL = [{"spec.serviceName": None}, {"spec.serviceName": "UP"}, {"spec.podManagementPolicy": "Odd"}, {"spec.podManagementPolicy": "Parallel"}, {"spec.updateStrategy": {"type": "Odd"}}, {"spec.updateStrategy": {"type": "OnDelete"}}, {"spec.updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}, {"spec.updateStrategy": {"rollingUpdate": {"partition": -1}}}, {"spec.updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2, "maxUnavailable": 2}}}, {"spec.volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}, {"spec.volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}, {"spec.persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Odd"}}, {"spec.ordinals": {"start": -1}}, {"spec.ordinals": {"start": 2}}]
JOBS = [{"spec.completions": -1}, {"spec.parallelism": -1}, {"spec.parallelism": 0}, {"spec.completions": 3}, {"spec.backoffLimit": -1}, {"spec.activeDeadlineSeconds": -1}, {"spec.ttlSecondsAfterFinished": -1}, {"spec.template.spec.restartPolicy": None}, {"spec.template.spec.restartPolicy": "Always"}, {"spec.template.spec.restartPolicy": "OnFailure"}, {"spec.selector": SELECTOR}, {"spec.manualSelector": True}, {"spec.manualSelector": True, "spec.selector": SELECTOR, "spec.template.metadata": {"labels": {"a": "b"}}}, {"spec.completionMode": "Indexed"}, {"spec.completionMode": "Indexed", "spec.completions": 2}, {"spec.completionMode": "Odd"}, {"spec.suspend": True}, {"spec.backoffLimitPerIndex": 1}, {"spec.podFailurePolicy": {"rules": []}}, {"spec.podFailurePolicy": {"rules": [{"action": "Odd"}]}}, {"spec.podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]}}, {"spec.podReplacementPolicy": "Odd"}, {"spec.managedBy": "x"}, {"spec.template.metadata": {"labels": {"controller-uid": "x"}}}, {"metadata.name": "x" * 64}, {"spec.successPolicy": {"rules": [{"succeededCount": 1}]}}, {"spec.template.spec.containers": []}]
CRON = [*[{"spec.schedule": s} for s in ["", "x", "* * * *", "60 * * * *", "@daily", "@every 5m", "*/0 * * * *", "1-0 * * * *", "TZ=UTC * * * * *", "0 0 31 2 *", "mon * * * *", "0 0 * jan-mar sun", "* * * * * *", "@odd"]], {"spec.concurrencyPolicy": "Odd"}, {"spec.concurrencyPolicy": "Forbid"}, {"spec.startingDeadlineSeconds": -1}, {"spec.successfulJobsHistoryLimit": -1, "spec.failedJobsHistoryLimit": -1}, {"spec.timeZone": "Odd/Zone"}, {"spec.timeZone": ""}, {"spec.timeZone": "Europe/Berlin"}, {"spec.timeZone": "Local"}, {"spec.suspend": True}, {"metadata.name": "x" * 53}, {"spec.jobTemplate": None}, {"spec.jobTemplate.spec.template.spec.restartPolicy": None}, {"spec.jobTemplate.spec.template.spec.containers": []}, {"spec.jobTemplate.spec.manualSelector": True}, {"spec.jobTemplate.spec.selector": SELECTOR}, {"spec.jobTemplate.spec.completions": -1}]
SERVICES = [
    {"spec.ports": []}, {"spec.ports": [{"port": 80}, {"port": 81}]}, {"spec.ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, {"spec.ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]}, {"spec.ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}]}, {"spec.ports": [{"port": 0}]}, {"spec.ports": [{}]}, {"spec.ports": [{"port": 70000}]}, {"spec.ports": [{"port": 80, "protocol": "odd"}]}, {"spec.ports": [{"port": 80, "targetPort": "UP"}]}, {"spec.ports": [{"port": 80, "targetPort": 0}]}, {"spec.ports": [{"port": 80, "targetPort": 70000}]}, {"spec.ports": [{"port": 80, "targetPort": "http"}]}, {"spec.ports": [{"port": 80, "name": "UP"}]}, {"spec.ports": [{"port": 80, "nodePort": 30000}]}, {"spec.ports": [{"port": 80, "appProtocol": "a b"}]},
    {"spec.type": "NodePort"}, {"spec.type": "NodePort", "spec.ports": [{"port": 80, "nodePort": 80}]}, {"spec.type": "NodePort", "spec.ports": [{"port": 80, "nodePort": 31234}]}, {"spec.type": "NodePort", "spec.ports": [{"port": 80, "name": "a", "nodePort": 31235}, {"port": 81, "name": "b", "nodePort": 31235}]}, {"spec.type": "LoadBalancer"}, {"spec.type": "LoadBalancer", "spec.allocateLoadBalancerNodePorts": False}, {"spec.type": "Odd"}, {"spec.type": "ExternalName"}, {"spec.type": "ExternalName", "spec.externalName": "a.example", "spec.ports": None}, {"spec.type": "ExternalName", "spec.externalName": "A_b"}, {"spec.externalName": "a.example"}, {"spec.clusterIP": "None"}, {"spec.clusterIP": "None", "spec.ports": None}, {"spec.clusterIP": "x"}, {"spec.clusterIP": "1.2.3.4"}, {"spec.clusterIP": "10.96.77.77"}, {"spec.clusterIPs": ["10.96.77.78"]}, {"spec.clusterIPs": ["None"]}, {"spec.clusterIP": "10.96.1.1", "spec.clusterIPs": ["10.96.1.2"]}, {"spec.clusterIP": "None", "spec.type": "NodePort"}, {"spec.type": "ExternalName", "spec.externalName": "a.example", "spec.clusterIP": "10.96.1.1"},
    {"spec.ipFamilies": ["IPv6"]}, {"spec.ipFamilies": ["Odd"]}, {"spec.ipFamilyPolicy": "PreferDualStack"}, {"spec.ipFamilyPolicy": "RequireDualStack"}, {"spec.ipFamilyPolicy": "Odd"}, {"spec.sessionAffinity": "ClientIP"}, {"spec.sessionAffinity": "Odd"}, {"spec.sessionAffinity": "ClientIP", "spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}, {"spec.sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}, {"spec.externalIPs": ["x"]}, {"spec.externalIPs": ["127.0.0.1"]}, {"spec.externalIPs": ["9.9.9.9"]}, {"spec.externalTrafficPolicy": "Local"}, {"spec.type": "NodePort", "spec.externalTrafficPolicy": "Odd"}, {"spec.type": "NodePort", "spec.externalTrafficPolicy": "Local"}, {"spec.type": "LoadBalancer", "spec.externalTrafficPolicy": "Local", "spec.healthCheckNodePort": 31999}, {"spec.healthCheckNodePort": 31999}, {"spec.internalTrafficPolicy": "Odd"}, {"spec.internalTrafficPolicy": "Local"}, {"spec.loadBalancerIP": "1.2.3.4"}, {"spec.type": "LoadBalancer", "spec.loadBalancerIP": "1.2.3.4"}, {"spec.loadBalancerClass": "a/b"}, {"spec.type": "LoadBalancer", "spec.loadBalancerClass": "a b"}, {"spec.type": "LoadBalancer", "spec.loadBalancerSourceRanges": ["1.2.3.0/24", "x"]}, {"spec.loadBalancerSourceRanges": ["1.2.3.0/24"]}, {"spec.selector": {"a b": "c"}}, {"spec.selector": None}, {"spec.publishNotReadyAddresses": True}, {"spec.trafficDistribution": "PreferClose"}, {"spec.trafficDistribution": "Odd"}, {"spec.clusterIP": "None", "spec.sessionAffinity": "ClientIP"}, {"status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}},
]
MAPS = [{"data": {"a b": "c"}}, {"data": {"": "c"}}, {"data": {"..": "c"}}, {"data": {"..a": "c"}}, {"data": {".": "c"}}, {"binaryData": {"a": "YQ=="}}, {"binaryData": {"b": "YQ=="}}, {"binaryData": {"b": "YQ"}}, {"immutable": True}, {"data": {"a": ""}}, {"data": {}}]
SECRETS = [{"data": {"a b": "YQ=="}}, {"data": {"a": "%"}}, {"data": {"a": "YQ=="}, "stringData": {"a": "c"}}, {"type": "odd type"}, {"type": "kubernetes.io/tls"}, {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x", "tls.key": "y"}}, {"type": "kubernetes.io/basic-auth"}, {"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}, {"type": "kubernetes.io/ssh-auth"}, {"type": "kubernetes.io/ssh-auth", "stringData": {"ssh-privatekey": ""}}, {"type": "kubernetes.io/dockerconfigjson"}, {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "x"}}, {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "{}"}}, {"type": "kubernetes.io/dockercfg"}, {"type": "kubernetes.io/dockercfg", "stringData": {".dockercfg": "x"}}, {"type": "kubernetes.io/service-account-token"}, {"type": "kubernetes.io/service-account-token", "metadata.annotations": {"kubernetes.io/service-account.name": "default"}}, {"immutable": True}, {"stringData": None}, {"type": "bootstrap.kubernetes.io/token"}]
CLAIMS = [{"spec.accessModes": []}, {"spec.accessModes": ["Odd"]}, {"spec.accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}, {"spec.resources": {}}, {"spec.resources.requests.storage": "-1"}, {"spec.resources.requests.storage": "0"}, {"spec.volumeMode": "Odd"}, {"spec.storageClassName": ""}, {"spec.storageClassName": "UP_"}, {"spec.selector": {"matchLabels": {"a b": "c"}}}, {"spec.dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}, {"spec.dataSource": {"kind": "Pod", "name": "a"}}, {"spec.volumeName": "UP_"}, {"spec.resources.limits": {"storage": "1Mi"}}, {"spec.resources.requests.storage": "1024Mi"}]
VOLUMES = [{"spec.capacity": None}, {"spec.accessModes": []}, {"spec.accessModes": ["Odd"]}, {"spec.hostPath": None}, {"spec.nfs": {"server": "s", "path": "/p"}}, {"spec.hostPath": {"path": ""}}, {"spec.persistentVolumeReclaimPolicy": "Odd"}, {"spec.volumeMode": "Odd"}, {"spec.storageClassName": "UP_"}, {"spec.capacity.storage": "-1"}, {"spec.nodeAffinity": {}}, {"spec.hostPath": {"path": "/"}, "spec.persistentVolumeReclaimPolicy": "Recycle"}, {"spec.claimRef": {"name": "c", "namespace": "n"}}]
INGRESSES = [{"spec": {}}, {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}}, {"spec": {"defaultBackend": {}}}, {"spec": {"defaultBackend": {"service": {"name": "UP", "port": {}}}}}, {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80, "name": "x"}}}}}, {"spec.rules.0.host": "UP"}, {"spec.rules.0.host": "*.a.example"}, {"spec.rules.0.host": "1.2.3.4"}, {"spec.rules.0.host": "*.*.a"}, {"spec.rules.0.http.paths.0.pathType": None}, {"spec.rules.0.http.paths.0.pathType": "Odd"}, {"spec.rules.0.http.paths.0.path": "x"}, {"spec.rules.0.http.paths.0.path": "/a//b"}, {"spec.rules.0.http.paths.0.path": None}, {"spec.rules.0.http.paths.0.path": None, "spec.rules.0.http.paths.0.pathType": "ImplementationSpecific"}, {"spec.rules.0.http.paths": []}, {"spec.rules.0.http": None}, {"spec.rules.0.http.paths.0.backend": {}}, {"spec.rules.0.http.paths.0.backend.service.port": {"name": "UP"}}, {"spec.tls": [{"hosts": ["UP"], "secretName": "UP"}]}, {"spec.tls": [{}]}, {"spec.ingressClassName": "UP_"}, {"spec.ingressClassName": "nope"}, {"metadata.annotations": {"kubernetes.io/ingress.class": "x"}}, {"metadata.annotations": {"kubernetes.io/ingress.class": "x"}, "spec.ingressClassName": "y"}, {"spec.rules.0.http.paths.0.backend": {"resource": {"kind": "K", "name": "n"}}}]
POLICIES = [{"spec": {}}, {"spec.podSelector": {"matchLabels": {"a b": "c"}}}, {"spec.policyTypes": ["Odd"]}, {"spec.policyTypes": ["Ingress", "Egress", "Ingress"]}, {"spec.ingress": [{}]}, {"spec.ingress": [{"from": [{}]}]}, {"spec.ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}, {"spec.ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}, {"spec.ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, {"spec.egress": [{"ports": [{"port": 0}]}]}, {"spec.egress": [{"ports": [{"port": "UP"}]}]}, {"spec.egress": [{"ports": [{"port": 80, "endPort": 79}]}]}, {"spec.egress": [{"ports": [{"protocol": "odd"}]}]}, {"spec.egress": [{"to": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}]}, {"spec.ingress": []}]
SCALERS = [{"spec.maxReplicas": None}, {"spec.maxReplicas": 0}, {"spec.minReplicas": 0}, {"spec.minReplicas": 5}, {"spec.minReplicas": -1}, {"spec.scaleTargetRef": {}}, {"spec.scaleTargetRef.kind": "a/b"}, {"spec.metrics": [{}]}, {"spec.metrics": [{"type": "Odd"}]}, {"spec.metrics": [{"type": "Resource"}]}, {"spec.metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}, {"spec.metrics": [{"type": "Resource", "resource": {"name": "", "target": {}}}]}, {"spec.metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "500m"}}}]}, {"spec.metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0}}}]}, {"spec.metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1k"}}}]}, {"spec.metrics": [{"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "Value", "value": "1"}}}]}, {"spec.metrics": [{"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "m"}, "target": {"type": "Value", "value": "2k"}}}]}, {"spec.metrics": [{"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}]}, {"spec.metrics": [{"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value"}}}]}, {"spec.metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 50}}}]}, {"spec.behavior": {"scaleDown": {"stabilizationWindowSeconds": 5000}}}, {"spec.behavior": {"scaleUp": {"selectPolicy": "Odd"}}}, {"spec.behavior": {"scaleUp": {"policies": [{"type": "Odd", "value": 0, "periodSeconds": 0}]}}}, {"spec.behavior": {"scaleUp": {"policies": []}}}, {"spec.behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}}, {"spec.behavior": {}}]
BUDGETS = [{"spec.minAvailable": None}, {"spec.minAvailable": -1}, {"spec.minAvailable": "x"}, {"spec.minAvailable": "101%"}, {"spec.maxUnavailable": 1}, {"spec.minAvailable": None, "spec.maxUnavailable": "50%"}, {"spec.selector": {}}, {"spec.selector": None}, {"spec.selector": {"matchLabels": {"a b": "c"}}}, {"spec.unhealthyPodEvictionPolicy": "Odd"}, {"spec.unhealthyPodEvictionPolicy": "AlwaysAllow"}]
ROLES = [{"rules": []}, {"rules": None}, {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}, {"rules": [{"resources": ["pods"], "verbs": ["get"]}]}, {"rules": [{"apiGroups": [""], "verbs": ["get"]}]}, {"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}, {"rules": [{"apiGroups": [""], "resources": ["pods"], "nonResourceURLs": ["/x"], "verbs": ["get"]}]}]
AGGREGATED = [{"aggregationRule": {"clusterRoleSelectors": []}}, {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}, {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a b": "b"}}]}}]
BINDINGS = [{"roleRef": None}, {"roleRef.kind": "Odd"}, {"roleRef.apiGroup": "odd"}, {"roleRef.name": ""}, {"roleRef.apiGroup": None}, {"subjects": None}, {"subjects": [{}]}, {"subjects": [{"kind": "Odd", "name": "a"}]}, {"subjects": [{"kind": "ServiceAccount", "name": "a"}]}, {"subjects": [{"kind": "ServiceAccount", "name": "UP", "namespace": "n"}]}, {"subjects": [{"kind": "User", "name": "a", "apiGroup": "odd"}]}, {"subjects": [{"kind": "Group", "name": ""}]}, {"subjects": [{"kind": "ServiceAccount", "name": "a", "namespace": "n", "apiGroup": "x"}]}]
SLICES = [{"addressType": None}, {"addressType": "Odd"}, {"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}, {"endpoints": [{"addresses": []}]}, {"endpoints": [{"addresses": ["x"]}]}, {"endpoints": [{"addresses": ["127.0.0.1"]}]}, {"endpoints": [{"addresses": ["::1"]}]}, {"endpoints": [{"addresses": ["10.1.1.1"], "hostname": "UP"}]}, {"endpoints": [{"addresses": ["10.1.1.1"], "nodeName": "UP_", "zone": "z", "targetRef": {"kind": "Pod", "name": "p"}, "conditions": {"ready": True}}]}, {"endpoints": None}, {"ports": [{"name": "a"}, {"name": "a"}]}, {"ports": [{"name": "UP", "port": 80}]}, {"ports": [{"port": 0}]}, {"ports": [{"port": 80, "protocol": "odd", "appProtocol": "a b"}]}, {"ports": None}, {"endpoints": [{"addresses": ["10.1.1.1"], "deprecatedTopology": {"a": "b"}}]}]
ENDPOINTS = [{"subsets": [{}]}, {"subsets": [{"addresses": [{"ip": "x"}]}]}, {"subsets": [{"addresses": [{"ip": "127.0.0.1"}], "ports": [{"port": 0}]}]}, {"subsets": [{"addresses": [{"ip": "10.1.1.1", "hostname": "UP"}], "ports": [{"port": 80}, {"port": 81}]}]}, {"subsets": None}, {"subsets": [{"notReadyAddresses": [{"ip": "10.1.1.1"}], "ports": [{"name": "a", "port": 80, "protocol": "odd"}]}]}]
EVENTS = [{"involvedObject": {"kind": "Pod", "name": "p", "namespace": "other"}}, {"involvedObject": {}}, {"type": "Odd"}, {"reason": None}, {"eventTime": "2026-01-01T00:00:00.000000Z"}, {"eventTime": "2026-01-01T00:00:00.000000Z", "action": "A", "reportingComponent": "c", "reportingInstance": "i"}, {"message": "x" * 1025}, {"series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}, {"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 2, "source": {"component": "c"}}]
LEASES = [{"spec.leaseDurationSeconds": 0}, {"spec.leaseTransitions": -1}, {"spec": {}}, {"spec.holderIdentity": ""}, {"spec.acquireTime": "2026-01-01T00:00:00.000000Z", "spec.renewTime": "2026-01-01T00:00:00Z"}, {"spec.acquireTime": "2026-01-01T00:00:00.000000Z"}, {"spec.strategy": "Odd"}, {"spec.preferredHolder": "x"}]
PRIORITIES = [{"value": 2000000000}, {"value": -5}, {"metadata.name": "system-x"}, {"globalDefault": True}, {"preemptionPolicy": "Odd"}, {"value": None}]
CLASSES = [{"provisioner": None}, {"provisioner": "a b"}, {"reclaimPolicy": "Odd"}, {"volumeBindingMode": "Odd"}, {"volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": True}, {"parameters": {"": "x"}}, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": []}]}]}]
QUOTAS = [{"spec.hard": {"odd": "1"}}, {"spec.hard": {"pods": "-1"}}, {"spec.hard": {"pods": "1.5"}}, {"spec.hard": {"requests.cpu": "1", "limits.memory": "1Gi", "count/deployments.apps": "3"}}, {"spec.scopes": ["Odd"]}, {"spec.scopes": ["BestEffort"], "spec.hard": {"requests.cpu": "1"}}, {"spec.scopes": ["Terminating", "NotTerminating"]}, {"spec": {}}, {"spec.scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}]
RANGES = [{"spec.limits": [{"type": "Odd Type"}]}, {"spec.limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}, {"spec.limits": [{"type": "Container"}, {"type": "Container"}]}, {"spec.limits": [{"type": "Container", "max": {"cpu": "1"}}]}, {"spec.limits": [{"type": "Pod", "default": {"cpu": "1"}}]}, {"spec.limits": [{"type": "PersistentVolumeClaim", "max": {"cpu": "1"}}]}, {"spec.limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}}]}, {"spec.limits": [{"type": "Container", "min": {"cpu": "100m"}, "defaultRequest": {"cpu": "50m"}}]}, {"spec": {}}]
NAMESPACES = [{"metadata.labels": {"kubernetes.io/metadata.name": "other"}}, {"spec": {"finalizers": ["a/b"]}}, {"spec": {"finalizers": ["odd"]}}, {"metadata.labels": {"pod-security.kubernetes.io/enforce": "odd"}}, {"metadata.labels": {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "v1.x"}}, {"status": {"phase": "Terminating"}}]
NODES = [{"spec": {"taints": [{"key": "a", "effect": "Odd"}]}}, {"spec": {"taints": [{"key": "a b", "effect": "NoSchedule"}]}}, {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}}, {"spec": {"podCIDR": "x"}}, {"spec": {"podCIDR": "10.0.0.0/24", "providerID": "p"}}, {"spec": {"unschedulable": True}}, {"status": {"capacity": {"cpu": "1"}}}]
ACCOUNTS = [{"secrets": [{"name": "s"}]}, {"imagePullSecrets": [{"name": "s"}]}, {"automountServiceAccountToken": False}, {"metadata.annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}]
RUNTIMES = [{"handler": "UP"}, {"handler": None}, {"overhead": {"podFixed": {"cpu": "1"}}}, {"scheduling": {"nodeSelector": {"a b": "c"}}}]
INCLASSES = [{"spec.controller": "x"}, {"spec.controller": None}, {"spec.controller": "a/b c"}, {"spec.parameters": {"kind": "K", "name": "n"}}, {"spec.parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}, {"spec.parameters": {"kind": "", "name": ""}}]

TABLES = [
    ("pods", "Pod", PODS), ("deployments", "Deployment", TEMPLATED + DEPLOYMENTS), ("workloads", "ReplicaSet", TEMPLATED[:18]), ("workloads", "DaemonSet", TEMPLATED[2:20] + DAEMONS), ("workloads", "StatefulSet", TEMPLATED[:20] + STATEFUL), ("workloads", "ReplicationController", TEMPLATED[:2] + TEMPLATED[8:19]),
    ("jobs", "Job", JOBS), ("jobs", "CronJob", CRON), ("services", "Service", SERVICES), ("data", "ConfigMap", MAPS), ("data", "Secret", SECRETS), ("volumes", "PersistentVolumeClaim", CLAIMS), ("volumes", "PersistentVolume", VOLUMES), ("volumes", "StorageClass", CLASSES),
    ("network", "Ingress", INGRESSES), ("network", "NetworkPolicy", POLICIES), ("network", "EndpointSlice", SLICES), ("network", "Endpoints", ENDPOINTS), ("network", "IngressClass", INCLASSES), ("scaling", "HorizontalPodAutoscaler", SCALERS), ("scaling", "PodDisruptionBudget", BUDGETS), ("rbac", "Role", ROLES), ("rbac", "ClusterRole", ROLES + AGGREGATED), ("rbac", "RoleBinding", BINDINGS), ("rbac", "ClusterRoleBinding", BINDINGS),
    ("others", "Event", EVENTS), ("others", "Lease", LEASES), ("others", "PriorityClass", PRIORITIES), ("others", "ResourceQuota", QUOTAS), ("others", "LimitRange", RANGES), ("others", "Namespace", NAMESPACES), ("others", "Node", NODES), ("others", "ServiceAccount", ACCOUNTS), ("others", "RuntimeClass", RUNTIMES),
]

# Changes to an object that exists, as merge patches; with the part they go to where it is not the whole.
UPDATES = [
    ("Deployment", [{"spec": {"selector": {"matchLabels": {"x": "y"}}}}, {"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}, {"spec": {"replicas": 3}}, {"spec": {"replicas": None}}, {"spec": {"template": None}}, {"spec": {"replicas": -1}}, {"metadata": {"labels": {"a": "b"}}}, {"metadata": {"annotations": {"a": "b"}}}, {"spec": {"template": {"spec": {"containers": None}}}}, {"status": {"replicas": 9}}, {"metadata": {"generateName": "x"}}, {"metadata": {"uid": "x"}}, {"metadata": {"generation": 9}}, {"metadata": {"creationTimestamp": None}}, {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, {"metadata": {"finalizers": ["a/b"]}}]),
    ("ReplicaSet", [{"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}]),
    ("DaemonSet", [{"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}, {"spec": {"template": {"spec": {"hostPID": True}}}}]),
    ("StatefulSet", [{"spec": {"serviceName": "t"}}, {"spec": {"selector": {"matchLabels": {"x": "y"}}}}, {"spec": {"podManagementPolicy": "Parallel"}}, {"spec": {"replicas": 2, "template": {"spec": {"hostPID": True}}, "updateStrategy": {"rollingUpdate": {"partition": 1}}}}, {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]}}]),
    ("Job", [{"spec": {"template": {"spec": {"hostPID": True}}}}, {"spec": {"completions": 4}}, {"spec": {"parallelism": 4}}, {"spec": {"selector": {"matchLabels": {"x": "y"}}}}, {"spec": {"backoffLimit": 1}}, {"spec": {"suspend": True}}, {"spec": {"completionMode": "Indexed"}}]),
    ("CronJob", [{"spec": {"schedule": "x"}}, {"spec": {"suspend": True}}]),
    ("Service", [{"spec": {"clusterIP": "10.96.3.3"}}, {"spec": {"clusterIP": ""}}, {"spec": {"clusterIP": "None"}}, {"spec": {"type": "ExternalName", "externalName": "a.example"}}, {"spec": {"type": "NodePort"}}, {"spec": {"ports": [{"port": 81}]}}, {"spec": {"selector": None}}, {"spec": {"sessionAffinity": "ClientIP"}}, {"spec": {"clusterIP": None, "clusterIPs": None}}]),
    ("Secret", [{"type": "other"}, {"data": {"x": "YQ=="}}, {"stringData": {"x": "y"}}, {"immutable": True}]),
    ("ConfigMap", [{"immutable": True}, {"data": {"a": None}}, {"data": None}, {"metadata": {"labels": {"a": None}}}]),
    ("Pod", [{"spec": {"containers": [{"name": "c", "image": "j"}]}}, {"spec": {"nodeName": "n"}}, {"spec": {"tolerations": None}}, {"spec": {"activeDeadlineSeconds": 5}}, {"spec": {"terminationGracePeriodSeconds": 1}}, {"spec": {"serviceAccountName": "other"}}, {"metadata": {"labels": {"x": "y"}}}, {"spec": {"priority": 5}}, {"status": {"phase": "Running"}}, {"spec": {"restartPolicy": "Never"}}]),
    ("PersistentVolumeClaim", [{"spec": {"accessModes": ["ReadOnlyMany"]}}, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, {"spec": {"volumeName": "v"}}, {"spec": {"storageClassName": "x"}}]),
    ("PersistentVolume", [{"spec": {"hostPath": {"path": "/y"}}}, {"spec": {"capacity": {"storage": "2Gi"}}}, {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}]),
    ("RoleBinding", [{"roleRef": {"name": "edit"}}, {"subjects": None}]),
    ("Role", [{"rules": None}]),
    ("StorageClass", [{"provisioner": "other"}, {"parameters": {"a": "b"}}, {"reclaimPolicy": "Retain"}, {"allowVolumeExpansion": True}]),
    ("PriorityClass", [{"value": 5}, {"preemptionPolicy": "Never"}, {"description": "x"}]),
    ("EndpointSlice", [{"addressType": "IPv6"}, {"ports": []}]),
    ("Ingress", [{"spec": {"rules": None}}, {"spec": {"ingressClassName": "x"}}]),
    ("NetworkPolicy", [{"spec": {"podSelector": {"matchLabels": {"a": "b"}}}}]),
    ("PodDisruptionBudget", [{"spec": {"selector": {"matchLabels": {"x": "y"}}}}, {"spec": {"minAvailable": 2}}]),
    ("HorizontalPodAutoscaler", [{"spec": {"maxReplicas": 0}}, {"spec": {"minReplicas": 2}}]),
    ("Lease", [{"spec": {"leaseDurationSeconds": 0}}, {"spec": {"holderIdentity": "you"}}]),
    ("Namespace", [{"metadata": {"labels": {"kubernetes.io/metadata.name": "other"}}}, {"spec": {"finalizers": []}}, {"status": {"phase": "Terminating"}}]),
    ("Node", [{"spec": {"podCIDR": "10.1.0.0/24"}}, {"spec": {"providerID": "x"}}, {"spec": {"unschedulable": True}}]),
    ("ControllerRevision", [{"data": {"b": 2}}]),
    ("IngressClass", [{"spec": {"controller": "example.com/d"}}]),
    ("RuntimeClass", [{"handler": "g"}]),
    ("ResourceQuota", [{"spec": {"scopes": ["BestEffort"]}}, {"spec": {"hard": {"pods": "5"}}}]),
    ("ServiceAccount", [{"secrets": [{"name": "x"}]}]),
    ("Event", [{"message": "new"}]),
    ("Endpoints", [{"subsets": None}]),
]


def updates():
    """Cases (file, kind, made first, merge patch)."""
    for kind, changes in UPDATES:
        for change in changes:
            made = base(kind)
            made["metadata"]["name"] = "upd"
            yield "updates", kind, made, change


def limits(**limit):
    return obj("LimitRange", "l", spec={"limits": [limit]})


def quota(hard, **rest):
    return obj("ResourceQuota", "q", spec={"hard": hard, **rest})


def pod(change=None, **spec):
    made = base("Pod")
    made["spec"].update(copy.deepcopy(spec))
    for path, value in (change or {}).items():
        put(made, path, copy.deepcopy(value))
    return made


R = C + "resources"
LIMIT = {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "2"}, "min": {"cpu": "50m"}}
GOOD = {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}
GOODC = {C + "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
PODSECURITY = [pod(), pod(GOODC, **GOOD), pod(hostNetwork=True, hostPID=True), pod({C + "securityContext": {"privileged": True}}), pod({C + "ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8081}]}), pod({C + "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}}), pod(V(hostPath={"path": "/x"})), pod(V(nfs={"server": "s", "path": "/p"}), **GOOD), pod({**GOODC, C + "securityContext.runAsUser": 0}, **GOOD), pod({C + "securityContext": {"seccompProfile": {"type": "Unconfined"}}}), pod({C + "securityContext": {"procMount": "Unmasked"}}, hostUsers=False), pod(securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), pod(securityContext={"runAsNonRoot": False, "seLinuxOptions": {"type": "odd_t", "user": "u"}}), pod({"spec.initContainers": [{"name": "i", "image": "j"}]}), pod({C + "livenessProbe": {"httpGet": {"port": 80, "host": "1.2.3.4"}}}), pod({"metadata.annotations": {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}})]

# (what is made first, labels of the namespace, what is then asked)
PLUGINS = [
    ([limits(**LIMIT)], {}, [pod(), pod({R: {"limits": {"cpu": "3"}}}), pod({R: {"requests": {"cpu": "10m"}}}), pod({R: {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}), pod({"spec.initContainers": [{"name": "i", "image": "j"}]})]),
    ([limits(type="Container", max={"memory": "1Gi"}, maxLimitRequestRatio={"cpu": "2"})], {}, [pod(), pod({R: {"requests": {"cpu": "1"}, "limits": {"cpu": "3", "memory": "2Gi"}}}), pod({R: {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}})]),
    ([limits(type="Pod", max={"cpu": "1"})], {}, [pod(), pod({R: {"limits": {"cpu": "2"}}}), pod({R: {"limits": {"cpu": "1"}}})]),
    ([limits(type="PersistentVolumeClaim", max={"storage": "500Mi"}, min={"storage": "100Mi"})], {}, [base("PersistentVolumeClaim"), changed("PersistentVolumeClaim", {"spec.resources.requests.storage": "1Mi"}), changed("PersistentVolumeClaim", {"spec.resources.requests.storage": "200Mi"})]),
    ([quota({"pods": "1", "requests.cpu": "1", "limits.memory": "1Gi"})], {}, [pod(), pod({R: {"requests": {"cpu": "2"}, "limits": {"memory": "2Gi"}}}), pod({R: {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}}), base("ConfigMap")]),
    ([quota({"secrets": "0", "count/deployments.apps": "0", "services.nodeports": "0", "persistentvolumeclaims": "0", "requests.storage": "1Mi"})], {}, [base("Secret"), base("Deployment"), changed("Service", {"spec.type": "NodePort"}), base("Service"), base("PersistentVolumeClaim")]),
    ([quota({"pods": "0"}, scopes=["BestEffort"])], {}, [pod(), pod({R: {"requests": {"cpu": "1"}}})]),
    ([quota({"pods": "0"}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}), obj("PriorityClass", "high", value=1000)], {}, [pod(), pod(priorityClassName="high")]),
    ([obj("PriorityClass", "usual", value=7, globalDefault=True, preemptionPolicy="Never")], {}, [pod(), pod(priority=7), pod(priority=8)]),
    ([obj("StorageClass", "std", provisioner="example.com/p", metadata={"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}})], {}, [base("PersistentVolumeClaim"), changed("PersistentVolumeClaim", {"spec.storageClassName": ""})]),
    ([obj("IngressClass", "std", spec={"controller": "example.com/c"}, metadata={"name": "std", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}})], {}, [base("Ingress"), changed("Ingress", {"metadata.annotations": {"kubernetes.io/ingress.class": "x"}})]),
    ([obj("RuntimeClass", "rt", handler="h", overhead={"podFixed": {"cpu": "250m"}})], {}, [pod(runtimeClassName="rt"), pod(runtimeClassName="rt", overhead={"cpu": "1"})]),
    ([obj("ServiceAccount", "sa", imagePullSecrets=[{"name": "pull"}], automountServiceAccountToken=False)], {}, [pod(serviceAccountName="sa"), pod(serviceAccountName="sa", automountServiceAccountToken=True), pod(serviceAccountName="sa", imagePullSecrets=[{"name": "own"}])]),
    ([], {"pod-security.kubernetes.io/enforce": "baseline"}, PODSECURITY),
    ([], {"pod-security.kubernetes.io/enforce": "restricted"}, PODSECURITY),
    ([], {"pod-security.kubernetes.io/warn": "restricted"}, [pod(), base("Deployment"), base("CronJob"), base("ConfigMap")]),
    ([], {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "v1.30"}, [pod()]),
]
