# The image is nowhere: its registry refuses the connection.
pattern=image_pull
service=cart
fault() { image=localhost:5999/shop/cart:1.4.3; app cart 'sleep 1000'; }
