"""`nodegate provision`: a document that names hosts becomes hardened node hosts, by an Ansible role.

`document` says what an operator may write, `variables` turns it into what the role reads, `run` starts
ansible-playbook and reads its events. The role itself lies in `role/`, for operators to read and reuse.
"""
