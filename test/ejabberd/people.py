"""People who use ejabberd: real clients, which make rooms, friends and messages.

    people.py PORT first|later

``first`` makes the chat, ``later`` adds to it, as it goes on while it is moved.
What was said, and is a message for a person, is printed as JSON: rooms is
room -> [[who, text]], talks is "one other" -> [[who, text]], each in order.
Nothing is waited for by time: a message counts when its receiver, or its room,
has given it back; a change when the server has answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import uuid

import slixmpp

DOMAIN = "example.com"
ROOMS = "conference." + DOMAIN
LIMIT = 60  # seconds, for anything

# title, description, what is changed in the room's form
PLACES = {
    "lobby": ("The lobby", "Everybody is welcome", {}),
    "loebby": ("Die L\u00f6bby", 'with "quotes" \\ and\nlines', {}),
    "party": ("Party \U0001f389", "\u6b22\u8fce", {"passwordprotectedroom": True, "roomsecret": "s3cret"}),
    "board": ("Board", "", {"membersonly": True, "publicroom": False}),
    "passing": ("Just a minute", "", {"persistentroom": False}),
}
WORDS = ["hello", "a & b < c > d \"e\" 'f'", "two\nlines", "emoji \U0001f469\u200d\U0001f469\u200d\U0001f467", "\u4f60\u597d",
         "<body>not a tag</body>", " from='mallory@example.com' ", "x" * 3000, "\\n is no line feed"]


class Person(slixmpp.ClientXMPP):
    """One client.  Remembers what it was given, and tells who waits for it."""

    def __init__(self, name: str, sees_back: bool = True):
        super().__init__("%s@%s/phone" % (name, DOMAIN), "secret")
        self.name = name
        for plugin in ("xep_0030", "xep_0045", "xep_0054", "xep_0077"):
            self.register_plugin(plugin)
        self["feature_mechanisms"].unencrypted_plain = True
        self.enable_starttls, self.enable_plaintext = False, True
        self.roster.auto_subscribe = sees_back
        self.given: set = set()
        self.add_event_handler("message", lambda message: self.given.add((message["id"], message["body"])))

    async def arrive(self, port: int) -> None:
        ready = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: ready.done() or ready.set_result(True))
        try:
            self.connect("127.0.0.1", port)
        except (TypeError, ValueError):  # before slixmpp 1.9
            self.connect(("127.0.0.1", port), disable_starttls=True)
        await asyncio.wait_for(ready, LIMIT)
        self.send_presence()
        await self.get_roster()

    async def sees(self, identity: str, text: str) -> None:
        await until(lambda: (identity, text) in self.given, "%s got %r" % (self.name, text))

    def put(self, to: str, text: str, kind: str, **more) -> str:
        """Send a message; its id."""
        message = self.make_message(to, mbody=text, mtype=kind, **more)
        message["id"] = uuid.uuid4().hex
        message.send()
        return message["id"]

    async def ask(self, inside: str, kind: str = "set") -> None:
        """An iq, as XML."""
        iq = self.make_iq(itype=kind)
        iq.append(slixmpp.xmlstream.ET.fromstring(inside))
        await iq.send()


async def until(true, what: str) -> None:
    async def poll():
        while not true():
            await asyncio.sleep(0.01)

    try:
        await asyncio.wait_for(poll(), LIMIT)
    except asyncio.TimeoutError:
        raise SystemExit("it never was so: " + what) from None


class Chat:
    def __init__(self):
        self.rooms: dict = {}
        self.talks: dict = {}

    async def say(self, room: str, who: Person, text: str) -> None:
        await who.sees(who.put("%s@%s" % (room, ROOMS), text, "groupchat"), text)
        self.rooms.setdefault(room, []).append([who.name, text])

    async def tell(self, who: Person, other: Person, text: str, kind: str = "chat", to_phone: bool = False) -> None:
        to = "%s@%s%s" % (other.name, DOMAIN, "/phone" if to_phone else "")
        await other.sees(who.put(to, text, kind), text)
        self.talks.setdefault(" ".join(sorted((who.name, other.name))), []).append([who.name, text])


async def open_room(owner: Person, name: str) -> None:
    title, description, changes = PLACES[name]
    muc, room = owner["xep_0045"], "%s@%s" % (name, ROOMS)
    await muc.join_muc_wait(room, owner.name, timeout=LIMIT)
    form = await muc.get_room_config(room)
    form["type"] = "submit"
    values = {"roomname": title, "roomdesc": description, "persistentroom": True, **changes}
    for field, value in values.items():
        form.get_fields()["muc#roomconfig_" + field]["value"] = value
    await muc.set_room_config(room, form)


async def friends(one: Person, other: Person) -> None:
    """One asks; the other agrees, and asks back if it is one who does."""
    one.send_presence_subscription("%s@%s" % (other.name, DOMAIN))
    wanted = "both" if other.roster.auto_subscribe else "to"
    jid = "%s@%s" % (other.name, DOMAIN)
    await until(lambda: one.client_roster[jid]["subscription"] == wanted, "%s and %s are friends" % (one.name, other.name))


async def first(people: dict, chat: Chat) -> None:
    alice, bob, carol, dave, eve, gone = (people[name] for name in ("alice", "bob", "carol", "dave", "eve", "gone"))
    card = alice["xep_0054"].make_vcard()
    card["FN"], card["NICKNAME"] = "Alice & Co <x>", "Al \U0001f389"
    card["PHOTO"]["EXTVAL"] = "https://img.example.com/a.png?b=1&c=2"
    await alice["xep_0054"].publish_vcard(vcard=card)
    # no archive of his own: what he says is with those who got it
    await dave.ask("<prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs>")

    await friends(alice, bob)
    await friends(alice, carol)
    await friends(dave, eve)
    await alice.update_roster("bob@" + DOMAIN, name="Bobby", groups=["Work", "Club"])

    for name in PLACES:
        await open_room(alice, name)
    muc = alice["xep_0045"]
    for room, person, role in (("lobby", "bob", "admin"), ("lobby", "eve", "member"), ("board", "bob", "admin"),
                               ("board", "carol", "owner"), ("loebby", "carol", "member")):
        await muc.set_affiliation("%s@%s" % (room, ROOMS), role, jid="%s@%s" % (person, DOMAIN))
    for room, members in (("lobby", (bob, carol, dave, gone)), ("loebby", (bob, carol)), ("board", (bob,)), ("passing", (bob,))):
        for person in members:
            await person["xep_0045"].join_muc_wait("%s@%s" % (room, ROOMS), person.name, timeout=LIMIT)

    for turn, text in enumerate(WORDS * 3):
        await asyncio.gather(chat.say("lobby", (alice, bob, carol, dave)[turn % 4], text),
                             chat.say("loebby", (bob, carol)[turn % 2], text),
                             chat.tell(*((bob, carol) if turn % 2 else (carol, bob)), text))
        await chat.tell(alice, bob, "to Bob: " + text)
        await chat.tell(bob, alice, "to Alice: " + text, to_phone=True)
    await chat.say("board", bob, "among us")
    await chat.tell(dave, eve, "I keep nothing")
    await chat.tell(eve, dave, "I do")
    await chat.tell(bob, carol, "not of type chat", kind="normal")

    # what is no message, or not for the move
    lobby = "lobby@" + ROOMS
    alice.put(lobby, "", "groupchat", msubject="a new subject")
    await chat.say("passing", bob, "of a room that ends")
    del chat.rooms["passing"]
    await bob.sees(alice.put(lobby + "/bob", "psst", "chat"), "psst")
    await alice.sees(alice.put("alice@" + DOMAIN, "milk", "chat"), "milk")
    await muc.set_affiliation(lobby, "outcast", jid="dave@" + DOMAIN)
    # who goes, goes with all that the server has of him but what the others keep
    await chat.say("lobby", gone, "farewell to all")
    await chat.tell(gone, alice, "farewell")
    # the server closes the connection instead of an answer
    farewell = asyncio.ensure_future(gone["xep_0077"].cancel_registration())
    await until(lambda: farewell.done() or not gone.is_connected(), "gone has gone")
    farewell.cancel()


async def later(people: dict, chat: Chat) -> None:
    alice, bob = people["alice"], people["bob"]
    for person in (alice, bob):
        await person["xep_0045"].join_muc_wait("lobby@" + ROOMS, person.name, timeout=LIMIT)
    await chat.say("lobby", bob, "after the first load")
    await chat.tell(alice, bob, "hello")
    # to somebody who is away
    bob.put("eve@" + DOMAIN, "when you are back", "chat")
    # the server has it, when it has answered what came after it
    await bob["xep_0030"].get_info(DOMAIN)
    chat.talks["bob eve"] = [["bob", "when you are back"]]


async def main(port: int, act: str) -> None:
    names = ("alice", "bob", "carol", "dave", "eve", "gone") if act == "first" else ("alice", "bob")
    people = {name: Person(name, sees_back=name != "eve") for name in names}
    for person in people.values():
        await person.arrive(port)
    chat = Chat()
    await {"first": first, "later": later}[act](people, chat)
    for person in people.values():
        if person.name != "gone":
            await person.disconnect()
    json.dump({"rooms": chat.rooms, "talks": chat.talks}, out)


if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # some versions of slixmpp print what they get
    logging.getLogger().setLevel(logging.CRITICAL)
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
