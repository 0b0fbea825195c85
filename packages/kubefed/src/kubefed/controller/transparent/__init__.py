"""Transparent federation: plain objects of a labelled namespace, federated as they are.

A namespace with the label `kubefed.io/federate: "true"` needs no Federated* objects written by
hand: beside each plain object stands a federated one that this package keeps. The plain object is
the host cluster's own copy; it is a *source*, and nothing here or in propagation ever writes its
spec. `marks` says how a source is told from a copy, which is what keeps this from looping.

Pure: marks, eligible, policy, wanted, decide, fold, rights.
I/O: home, sources, writes, beside, release, controller.
"""
